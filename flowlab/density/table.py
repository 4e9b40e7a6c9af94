"""The density of a user's table, in memory: fit a flow by name, score rows, draw rows, and report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from flowlab.config.compose import compose
from flowlab.config.errors import ConfigError
from flowlab.config.paths import new_file
from flowlab.config.schema import Config, flat
from flowlab.flow import Flow
from flowlab.flows.base import Architecture
from flowlab.metrics.evaluation import chunks
from flowlab.optimizers.base import Optimizer
from flowlab.seeding import generator
from flowlab.tables.schema import Schema
from flowlab.targets.rows import TableTarget
from flowlab.training.build import Checked, build
from flowlab.training.fit import Fit, fit_module
from flowlab.training.follow_data import follow_data

if TYPE_CHECKING:
    import pandas

CHUNK = 100_000  # rows that are mapped at once
# The arguments of a table that `fit_table` does not give itself.
TABLE = set(signature(TableTarget).parameters) - {"table", "path", "split_seed", "context", "dialect", "decided"}


@dataclass(frozen=True)
class Density:
    """The density of a table.

    Attributes:
        flow: the trained flow; its points are in the units of the table, see Schema.
        target: the table's rows: its splits, its columns and their kinds.
        config: the settings, with values for those that follow the data.
        fit: the course of the training.
    """

    flow: Flow
    target: TableTarget
    config: Config
    fit: Fit

    @property
    def schema(self) -> Schema:
        """The columns with their kinds."""
        assert self.target.schema is not None
        return self.target.schema

    @torch.no_grad()
    def log_prob(self, rows: pandas.DataFrame, seed: int = 0) -> np.ndarray:
        """Log density of rows in nats, given their conditions; of shape (n,) in float64.

        A row with a value outside of the domain of its column has -inf.

        Arguments:
            rows: a DataFrame with the columns of the table, in any order.
            seed: the seed of the noise of discrete columns; see Schema.

        Raises:
            DataError: a column or a value is missing, or a category is unknown.
        """
        batch = self.schema.encode(rows, seed, outside="keep").to(self.flow.anchor)
        return torch.cat([self.flow.log_prob(*part).double().cpu() for part in chunks(batch, CHUNK)]).numpy()

    def score(self, rows: pandas.DataFrame | None = None) -> float:
        """Mean log density of rows in nats; of the held-out test rows for None."""
        return float(self.log_prob(self.target.frame("test") if rows is None else rows).mean())

    @torch.no_grad()
    def sample(
        self, n: int | None = None, context: Mapping[str, Any] | pandas.DataFrame | None = None, seed: int = 0
    ) -> pandas.DataFrame:
        """Draw rows with the columns and dtypes of the table, each inside of its column's domain.

        Arguments:
            n: the number of rows; 1 by default, or a row for each row of the context.
            context: the conditions of a conditional density: a mapping such as {"age": 30}, or a DataFrame.
            seed: the seed of the rows; equal seeds give equal rows.

        Raises:
            ConfigError: n is below 1, or the context is missing or does not fit the density.
            DataError: a value of the context is missing or unknown.
        """
        import pandas

        if n is not None and n < 1:
            raise ConfigError(f"sample: n={n}: must be at least 1")
        if (context is None) == bool(self.schema.conditions):
            names = ", ".join(self.schema.context_columns)
            raise ConfigError(
                f"sample: context: give the values of {names}, as context={{{self.schema.context_columns[0]!r}: ...}}"
                if names
                else "sample: context: the density has no conditions; leave it out"
            )
        if context is None:
            return pandas.concat([self._draw(part, None, seed) for part in _parts(n or 1)], ignore_index=True)
        given = self.schema.context_frame(context)
        if n is not None and len(given) not in (1, n):
            raise ConfigError(f"sample: n={n}: the context has {len(given)} rows; leave n out, or give as many")
        count = n or len(given)
        given = given.iloc[[0] * count if len(given) == 1 else range(count)].reset_index(drop=True)
        rows = pandas.concat([self._draw(part, given, seed) for part in _parts(count)], ignore_index=True)
        return pandas.concat([rows, given], axis=1)[list(self.target.frame("test").columns)]

    def _draw(self, part: range, given: pandas.DataFrame | None, seed: int) -> pandas.DataFrame:
        like, draws = self.flow.anchor, generator(seed, "rows", part.start // CHUNK, self.flow.anchor.device)
        context = None if given is None else self.schema.encode_context(given.iloc[part]).to(like)
        points = self.flow.rsample((len(part),) if context is None else (), context, draws)
        return self.schema.decode(points.cpu())

    def report(self, path: str | Path = "report.html", seed: int = 0) -> Path:
        """Write one HTML page: held-out likelihood beside other models, real and generated rows, and warnings.

        Arguments:
            path: an .html file that does not exist yet.
            seed: the seed of the generated rows.

        Raises:
            ConfigError: the file exists or cannot be written, or scikit-learn is not installed.
        """
        from flowlab.report.record import Record
        from flowlab.report.write import write_report

        place, flow, steps = new_file("path", str(path), (".html",)), self.config.flow, self.fit.steps
        record = Record(
            name=place.stem,
            data="a DataFrame",
            flow=flow.name,
            parameters=sum(parameter.numel() for parameter in self.flow.parameters()),
            seed=self.config.seed,
            trained=f"{steps:,} steps; weights of step {self.fit.best_step:,}",
            settings={name: str(value) for name, value in flat({"flow": flow.to_dict()}).items()},
            best_step=self.fit.best_step,
            steps=steps,
            notes=list(self.target.notes),
        )
        write_report(place, self.flow, self.target, self.schema.columns, record, [], self.config.seed, seed)
        return place


def fit_table(
    table: Any,
    flow: str | Architecture = "tabular",
    *,
    context: Sequence[str] | str | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    optimizer: str | Optimizer | None = None,
    dtype: str = "float32",
    seed: int = 0,
    **settings: Any,
) -> Density:
    """Learn the density of a table: as `target=table` on the command line, in memory.

    Arguments:
        table: a DataFrame, or what pandas makes one of.
        flow: a name such as "tabular" or "nsf"; or settings, as `flowlab.compose("flow=nsf", "flow.depth=4").flow`.
        context: names of columns that the density is conditioned on.
        steps, batch_size, lr: settings of the training; None follows the number of rows and columns.
        optimizer: a name, or an object; None is AdamW, with a weight decay that follows the table.
        dtype: the flow's dtype, float32 or float64.
        seed: the seed of the split, the initial parameters and the minibatches.
        settings: keys of `target=table`, as kinds, missing, robust and validation; or of `conf/trainer`, as patience.

    Raises:
        ConfigError: a setting cannot be used.
        DataError: the rows cannot be used; the message says which and why.
    """
    import pandas

    own = {name: settings.pop(name) for name in list(settings) if name in TABLE}
    frame = table if isinstance(table, pandas.DataFrame) else pandas.DataFrame(table)
    names = [context] if isinstance(context, str) else context
    given = {"max_steps": steps, "batch_size": batch_size, "optimizer.lr": lr, "dtype": dtype, "seed": seed}
    given |= {name: value for name, value in (("flow", flow), ("optimizer", optimizer)) if isinstance(value, str)}
    words = [f"{name}={value}" for name, value in given.items() if value is not None]
    config = compose("target=table", "target.path=data", *words)
    try:
        target = TableTarget(frame.rename(columns=str).reset_index(drop=True), split_seed=seed, context=names, **own)
    except ConfigError as error:  # here its settings are arguments
        raise type(error)(str(error).replace("target.", "")) from None
    target.notes = [note.replace("target.", "") for note in target.notes]
    config = replace(
        config,
        flow=config.flow if isinstance(flow, str) else flow,
        optimizer=optimizer if isinstance(optimizer, Optimizer) else config.optimizer,
    )
    config = follow_data(config, target)
    experiment = build(config, checked=Checked(config, target, None))
    made = experiment.flow
    trainer = {name: getattr(config.trainer, name) for name in ("validate_every", "patience", "max_time")}
    course = fit_module(
        made,
        target,
        steps=config.max_steps,
        batch_size=config.batch_size,
        optimizer=experiment.optimizer,
        seed=seed,
        **trainer | settings,
    )
    made.requires_grad_(False)
    return Density(made, target, config, course)


def _parts(count: int) -> list[range]:
    """The places of so many rows, in parts that fit into memory."""
    return [range(begin, min(begin + CHUNK, count)) for begin in range(0, count, CHUNK)]
