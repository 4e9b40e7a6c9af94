"""Flows on packaged tables beside other densities: `python experiments/tabular_benchmark.py runs/SWEEP`.

SWEEP is the directory of `flowlab-train -m +sweep=tabular`. The table has the mean log density of the test rows, in
nats of standardized columns, and two errors: over seeds and over test rows. It says where flows lose. `--record PATH`
also writes PATH.csv and PATH.json. Exit status: 0 every run is done, 1 some are not, 2 a mistake of the user.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch

from flowlab.baselines import Baseline, Gaussian, GaussianMixture, KernelDensity
from flowlab.cli.command import FAILED, OK, report_mistakes
from flowlab.config.errors import ConfigError
from flowlab.config.paths import local_path
from flowlab.runs.directory import Run, load_run
from flowlab.sweeps.manifest import Manifest
from flowlab.system.files import write_json, write_text
from flowlab.system.process import origin, print_line, protect_output
from flowlab.targets.base import Target

COMPONENTS = (1, 2, 5, 10, 20, 40)
BASELINE, FLOW = "baseline", "flow"
COLUMNS = ["dataset", "rows", "columns", "kind", "model", "nats", "error_over_rows", "seeds", "error_over_seeds"]
COLUMNS += ["behind_best_baseline", "behind_error_over_rows", "steps", "seconds"]


class ValidatedMixture(GaussianMixture):
    """A mixture of up to 40 Gaussians, as many as give the validation rows the highest density."""

    def _fit(self, train: np.ndarray, validation: np.ndarray, seed: int) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture as Mixture

        fitted = []
        for components in (count for count in COMPONENTS if 5 * count <= len(train)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                fitted.append(Mixture(components, random_state=seed).fit(train))
        best = max(fitted, key=lambda mixture: mixture.score(validation))
        self._weights, self._means, self._covariances = best.weights_, best.means_, best.covariances_
        self.note = f"{len(self._weights)} components, by validation rows"


BASELINES: tuple[type[Baseline], ...] = (Gaussian, ValidatedMixture, KernelDensity)


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line, given without the program's name; gives the exit status."""
    parser = argparse.ArgumentParser("tabular_benchmark.py", description="Flows on tables beside other densities.")
    parser.add_argument("directory", metavar="DIR", type=Path, help="the directory of a sweep of target=dataset")
    parser.add_argument("--record", metavar="PATH", type=Path, help="also write PATH.csv and PATH.json")
    options = parser.parse_args(arguments)
    with protect_output():
        return report_mistakes(lambda: _measure_sweep(options.directory, options.record), "nothing was written")


def _measure_sweep(sweep: Path, record: Path | None) -> int:
    directory = Path(local_path("DIR", sweep))
    runs, waiting = find_runs(directory)
    rows = measure(runs)
    print(as_markdown(rows))
    for line in describe_losses(rows):
        print(line)
    if record:
        stem = str(record).removesuffix(".csv")
        write_text(Path(f"{stem}.csv"), rows.to_csv(index=False, lineterminator="\n", float_format="%.5g"))
        write_json(Path(f"{stem}.json"), {"runs": sum(map(len, runs.values()))} | origin())
    return FAILED if waiting else OK


def find_runs(directory: Path) -> tuple[dict[tuple[str, str], list[Run]], int]:
    """The finished runs of a sweep by dataset and option of the flow, and how many are not finished.

    Raises:
        ConfigError: the directory holds no sweep, its target has no datasets, or no run is done.
    """
    found: dict[tuple[str, str], list[Run]] = {}
    waiting = 0
    for job in Manifest.read(directory).jobs:
        place = directory / job["directory"]
        run = load_run(place) if (place / "config.yaml").is_file() else None
        if run is None or not run.done:
            waiting += 1
            continue
        dataset = getattr(run.config.target, "dataset", None)
        if dataset is None:
            raise ConfigError(f"{place}: target={run.config.target.name}: the benchmark is for target=dataset")
        words = dict(word.partition("=")[::2] for word in job["overrides"])
        found.setdefault((dataset, words.get("flow", run.config.flow.name)), []).append(run)
    if not found:
        raise ConfigError(f"{directory}: no run is done yet")
    return found, waiting


def measure(runs: dict[tuple[str, str], list[Run]]) -> pandas.DataFrame:
    """The densities of all models for the test rows of each dataset; see COLUMNS, nats where nothing else is said."""
    rows: list[dict[str, Any]] = []
    for dataset in dict.fromkeys(dataset for dataset, _ in runs):
        flows = {flow: some for (name, flow), some in runs.items() if name == dataset}
        target = next(iter(flows.values()))[0].target
        train, validation, test = (_rows(target, split).numpy() for split in ("train", "validation", "test"))
        units = np.log(train.std(0)).sum()  # so nats are those of standardized columns
        size = {"dataset": dataset, "rows": len(train), "columns": target.dim}
        scores: dict[str, np.ndarray] = {}
        for kind in BASELINES:
            model = kind().fit(train, validation)
            scores[model.title] = model.log_prob(test) + units
            print_line(f"{dataset}: {model.title}: {model.note or 'no settings'}")
        best = max(scores.values(), key=np.mean)
        rows += [
            size | {"kind": BASELINE, "model": name} | _summary(score[None], best) for name, score in scores.items()
        ]
        for flow, some in flows.items():
            of_seeds = np.stack([_score(run, target) for run in some]) + units
            took = {key: float(np.mean([run.result[key] for run in some])) for key in ("steps", "seconds")}
            rows.append(size | {"kind": FLOW, "model": flow} | _summary(of_seeds, best) | took)
    return pandas.DataFrame(rows, columns=COLUMNS)


def _rows(target: Target, split: str) -> torch.Tensor:
    return target.rows(split, 0, 0, torch.float64)


@torch.no_grad()
def _score(run: Run, target: Target) -> np.ndarray:
    like = next(run.flow.parameters())
    return run.flow.log_prob(_rows(target, "test").to(like.dtype)).double().numpy()


def _summary(scores: np.ndarray, best: np.ndarray) -> dict[str, float]:
    """Means and errors of log densities of shape (seeds, test rows); the errors of means over seeds, and over rows."""
    seeds, count = scores.shape
    behind = best - scores.mean(0)
    return {
        "nats": scores.mean(),
        "error_over_rows": scores.mean(0).std(ddof=1) / count**0.5,
        "seeds": seeds,
        "error_over_seeds": scores.mean(1).std(ddof=1) / seeds**0.5 if seeds > 1 else np.nan,
        "behind_best_baseline": behind.mean(),
        "behind_error_over_rows": behind.std(ddof=1) / count**0.5,
    }


def as_markdown(rows: pandas.DataFrame) -> str:
    """A row for each dataset, a column for each model: mean nats, error over seeds, error over rows."""
    models = list(dict.fromkeys(rows["model"]))
    lines = [
        "Mean log density of test rows in nats of standardized columns, as: mean (error over seeds; over test rows).",
        "",
        f"| dataset | rows x columns | {' | '.join(models)} |",
        f"|---|---|{'---|' * len(models)}",
    ]
    for dataset, some in rows.groupby("dataset", sort=False):
        cells = {row.model: _cell(row) for row in some.itertuples()}
        size = f"{some['rows'].iloc[0]} x {some['columns'].iloc[0]}"
        lines.append(f"| {dataset} | {size} | {' | '.join(cells.get(model, '') for model in models)} |")
    return "\n".join([*lines, ""])


def _cell(row: Any) -> str:
    seeds = "" if np.isnan(row.error_over_seeds) else f"{row.error_over_seeds:.2f}; "
    return f"{row.nats:.2f} ({seeds}{row.error_over_rows:.2f})"


def describe_losses(rows: pandas.DataFrame) -> list[str]:
    """A line for each flow that is behind the best baseline, with the paired error over test rows."""
    lines = []
    for dataset, some in rows.groupby("dataset", sort=False):
        best = some.loc[some[some["kind"] == BASELINE]["nats"].idxmax(), "model"]
        for row in some[(some["kind"] == FLOW) & (some["behind_best_baseline"] > 0)].itertuples():
            lines.append(
                f"{dataset}: {row.model} loses to the {best} by {row.behind_best_baseline:.2f} nats, with an error of "
                f"{row.behind_error_over_rows:.2f} over test rows"
            )
    return lines or ["No flow loses to a baseline."]


if __name__ == "__main__":
    sys.exit(main())
