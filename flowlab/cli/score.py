"""`flowlab-score`: the log density of each row of a file under the flow of a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flowlab.cli.command import carry_out, columns_of, trained_flow
from flowlab.config.component import setting
from flowlab.config.errors import ConfigError
from flowlab.config.paths import local_path, new_file
from flowlab.system.files import write_atomically
from flowlab.system.process import print_line

if TYPE_CHECKING:
    from torch import Tensor

    from flowlab.flow import Flow
    from flowlab.runs.directory import Run
    from flowlab.tables.schema import Schema
    from flowlab.targets.base import Batch

USAGE = """\
flowlab-score: score the rows of a file by the flow of a run

  flowlab-score RUN input=rows.csv output=scores.csv                 log density, percentile and a flag for each row
  flowlab-score RUN input=rows.csv output=scores.csv threshold=0.1   flag rows below the lowest 0.1 % of training rows

RUN is a run directory. The rows need the columns of the run and of its conditions, in any order; others are passed
over. log_density is in nats, -inf where a value is outside of the domain of its column; percentile is the share of
training rows, in per cent, that are less likely. A target without rows, such as target=density, has draws of the flow
in their place. A file that exists is not overwritten."""

CHUNK = 100_000  # rows that are scored at once
TRAINING_ROWS = 100_000  # drawn from an exact target, which has any number


@dataclass(kw_only=True)
class ScoreOptions:
    """The keys of `flowlab-score`.

    Attributes:
        input: the file of rows, of any kind that target=file reads.
        output: the .csv of scores, a line for each row.
        threshold: in per cent: a row is flagged if fewer training rows than these are less likely.
    """

    input: str
    output: str
    threshold: float = setting(1.0, minimum=0, maximum=100)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, the words after the program's name, and return the exit status."""
    return carry_out(arguments, USAGE, ScoreOptions, score)


def score(run: Run, options: ScoreOptions) -> None:
    """Write log density, percentile among the training rows, and whether it is below the threshold, for each row.

    A row with a value outside of the domain of its column has the log density -inf. Discrete columns have noise from a
    fixed seed.

    Raises:
        ConfigError: the run has no result, its target is no table, or a file cannot be used.
    """
    import pandas
    import torch

    from flowlab.runs.directory import check_data
    from flowlab.targets._points import read_table
    from flowlab.targets.base import ExactTarget

    path = new_file("output", options.output, (".csv",))
    flow, schema = trained_flow(run), _schema(run)
    if not isinstance(run.target, ExactTarget):
        check_data(run, run.target)
    rows = schema.encode(
        read_table(Path(local_path("input", options.input))).table, where=options.input, outside="keep"
    )
    like = flow.anchor
    known = _log_density(flow, _known_rows(run, flow)).sort().values
    found = _log_density(flow, rows.to(like.device, like.dtype))
    percentile = 100 * torch.searchsorted(known, found) / len(known)
    flagged = percentile < options.threshold
    scores = {"log_density": found.numpy(), "percentile": percentile.numpy(), "flagged": flagged.numpy()}
    table = pandas.DataFrame(scores)
    write_atomically(path, lambda part: table.to_csv(part, index=False, lineterminator="\n"))
    outside = int(rows.x.isnan().any(-1).sum())
    said = f"; {outside:,} with a value outside of the domain of its column" if outside else ""
    print_line(f"wrote {len(table):,} scores to {options.output}; {int(flagged.sum()):,} flagged{said}", sys.stdout)


def _known_rows(run: Run, flow: Flow) -> Batch:
    """The rows that a percentile counts: of training, or draws of the flow for a target without points."""
    import torch

    from flowlab.seeding import generator
    from flowlab.targets.base import Batch

    like, seed = flow.anchor, run.config.seed
    if run.target.has_points:
        return run.target.batch("train", TRAINING_ROWS, seed, like.dtype).to(like.device)
    with torch.no_grad():
        return Batch(flow.rsample((TRAINING_ROWS,), generator=generator(seed, "score", device=like.device)))


def _schema(run: Run) -> Schema:
    """The columns of a run. An exact target has real columns, and contexts without names."""
    from flowlab.tables.column import real_columns
    from flowlab.tables.schema import Schema

    if run.schema is not None:
        return run.schema
    if run.target.context_shape is not None:
        raise ConfigError(f"{run.directory}: its flow is conditional, and the contexts of its target have no names")
    return Schema(real_columns(columns_of(run)))


def _log_density(flow: Flow, rows: Batch) -> Tensor:
    """The log densities of rows given their contexts, in nats, in float64."""
    import torch

    from flowlab.metrics.evaluation import chunks

    with torch.no_grad():
        return torch.cat([flow.log_prob(*part).double().cpu() for part in chunks(rows, CHUNK)])


if __name__ == "__main__":
    sys.exit(main())
