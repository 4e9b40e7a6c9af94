"""Posteriors of five simulators, compared with reference posteriors by the C2ST of sbibm.

    python experiments/sbi_benchmark.py
    python experiments/sbi_benchmark.py --tasks two_moons slcp --simulations 1000 --observations 2

For each task and number of simulations it trains a conditional neural spline flow with early stopping, once without
and once with weight decay. For two cells it also trains `flow=tabular`. It keeps the flow with the lowest validation
NLL. It draws 10 000 samples of the posterior for each observation and measures how well a network tells them from the
reference. The C2ST of a cell trains 10 x 5 networks: about 3 minutes in 2 dimensions, 10 in 5 and 30 in 10, on an idle
core.

Runs and results are kept in --directory, one for each cell, so the same command continues where it stopped. The table
is printed after each cell. --record PATH writes PATH.csv, a row for each observation, and PATH.json, the settings.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch

import flowlab
from flowlab.cli.command import OK, report_mistakes
from flowlab.datasets.posteriors import OBSERVATIONS, SBIBM, TASKS, load_posterior
from flowlab.metrics.two_sample import classifier_two_sample
from flowlab.runs.directory import Run
from flowlab.seeding import generator
from flowlab.system.files import read_json, write_json, write_text
from flowlab.system.process import origin, protect_output
from flowlab.targets import Simulator
from flowlab.training.resume import complete

SAMPLES = 10_000
PROVENANCE = ("git_commit", "git_dirty")
# The flow of the publication: 5 couplings, splines of 10 bins on [-3, 3], 50 hidden units, an LU layer after each.
FLOW = ("flow=nsf", "flow.depth=5", "flow.bins=10", "flow.bound=3.0", "flow.hidden=[50,50]")
# By simulations: chosen by test NLLs of three tasks at 1000 simulations, never by a C2ST.
TRAINING: dict[int, tuple[str, ...]] = {
    1000: ("max_steps=3000", "batch_size=50", "trainer.validate_every=25", "trainer.patience=40"),
    10_000: ("max_steps=6000", "batch_size=100", "trainer.validate_every=100", "trainer.patience=20"),
}
# The validation rows of each cell choose between these.
CANDIDATES: dict[str, tuple[str, ...]] = {
    "adam": ("optimizer.lr=0.003",),
    "adamw": ("optimizer=adamw", "optimizer.weight_decay=5.0", "optimizer.lr=0.003"),
}
# The flow for tables starts at a linear regression. It is a candidate where the others miss the published C2ST by 0.1.
REGRESSION = (
    *("flow=tabular", "optimizer=tabular", "optimizer.lr=0.003"),
    *("max_steps=null", "batch_size=null", "trainer.validate_every=null"),
)
WITH_REGRESSION = (("gaussian_linear", 10_000), ("gaussian_linear_uniform", 10_000))
# Neural posterior estimation with a neural spline flow, one round, mean over 10 observations: sbi-benchmark/results.
PUBLISHED = {
    "two_moons": {1000: 0.725, 10_000: 0.606},
    "gaussian_linear": {1000: 0.694, 10_000: 0.552},
    "gaussian_linear_uniform": {1000: 0.696, 10_000: 0.553},
    "gaussian_mixture": {1000: 0.731, 10_000: 0.661},
    "slcp": {1000: 0.975, 10_000: 0.901},
}
# The published simulator drew all data of one call from the same Gaussian; these come from the corrected one.
CORRECTED = {"gaussian_mixture": {1000: 0.716, 10_000: 0.615}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, given without the program's name; return the exit status."""
    options = _parse(arguments)
    with protect_output():
        return report_mistakes(lambda: _measure_cells(options), "the same command continues")


def _measure_cells(options: argparse.Namespace) -> int:
    for task in options.tasks:
        for simulations in options.simulations:
            run = train(task, simulations, options.directory / f"{task}_{simulations}")
            measure(run, task, options.observations, options.directory / f"{task}_{simulations}.json")
            print_table(collect(options.directory))
    if options.record:
        write_record(options.directory, options.record)
    return OK


def candidates(task: str, simulations: int) -> dict[str, tuple[str, ...]]:
    """The settings of each flow that is trained for a cell, by its name."""
    words = {name: (*FLOW, *TRAINING[simulations], *own) for name, own in CANDIDATES.items()}
    return words | ({"regression": REGRESSION} if (task, simulations) in WITH_REGRESSION else {})


def train(task: str, simulations: int, directory: Path) -> Run:
    """Train the candidates of a cell, unless they are done already; return the best on the validation rows."""
    target = ("target=simulator", f"target.task={task}", f"target.simulations={simulations}")
    settings = ("trainer.progress=off", "test_size=10000")
    runs = [
        complete(flowlab.compose(*target, *own, *settings), directory / name)
        for name, own in candidates(task, simulations).items()
    ]
    return min(runs, key=lambda run: run.metrics["nll"].min())


def measure(run: Run, task: str, observations: int, path: Path) -> None:
    """Measure the C2ST of the first observations that the file of the cell lacks, and write each into it."""
    target = run.config.target.build()
    assert isinstance(target, Simulator)
    cell: dict[str, Any] = read_json(path) or {
        "candidate": run.directory.name,
        "nll": run.result["nll"],
        "observations": {},
    } | {name: run.provenance.get(name) for name in PROVENANCE}
    for number in range(1, observations + 1):
        if str(number) in cell["observations"]:
            continue
        reference = load_posterior(task, number, download=True)
        draws = generator(0, "posterior", number)
        observed = torch.from_numpy(reference.observation)
        samples, inside = target.sample_posterior(run.flow, observed, SAMPLES, draws)
        accuracies = classifier_two_sample(reference.samples, samples.numpy())
        cell["observations"][str(number)] = {"c2st": float(accuracies.mean()), "inside_prior": inside}
        write_json(path, cell)
        print(f"{path.stem}: observation {number}: C2ST {accuracies.mean():.3f}", flush=True)


def collect(directory: Path) -> list[dict[str, Any]]:
    """The rows of the table: for each cell the mean C2ST, its spread, and the published mean."""
    rows = []
    for task, published in PUBLISHED.items():
        for simulations, reference in published.items():
            path = directory / f"{task}_{simulations}.json"
            cell = read_json(path)
            values = [each["c2st"] for each in cell.get("observations", {}).values()]
            if values:
                spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
                row = {"task": task, "simulations": simulations, "observations": len(values)}
                row |= {"c2st": float(np.mean(values)), "spread": spread, "c2st_of_observations": values}
                row |= {"published": reference}
                row |= {"corrected": CORRECTED.get(task, {}).get(simulations), "candidate": cell["candidate"]}
                rows.append(row | {name: cell.get(name) for name in ("nll", *PROVENANCE)})
    return rows


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Print the rows; the spread is the standard deviation over observations."""
    print(
        f"{'task':<24} {'simulations':>11} {'observations':>12} {'C2ST':>6} {'spread':>6} {'published':>9} "
        f"{'differs':>7}"
    )
    for row in rows:
        spread = "" if row["spread"] is None else f"{row['spread']:.3f}"
        known = row["corrected"] or row["published"]
        print(
            f"{row['task']:<24} {row['simulations']:>11,} {row['observations']:>12} {row['c2st']:>6.3f} {spread:>6} "
            f"{known:>9.3f} {row['c2st'] - known:>+7.3f}",
            flush=True,
        )


def write_record(directory: Path, path: Path) -> None:
    """Write PATH.csv, a row for each observation, and PATH.json, what they were measured with."""
    table = pandas.DataFrame(collect(directory)).explode("c2st_of_observations")
    table.insert(2, "observation", table.groupby(["task", "simulations"]).cumcount() + 1)
    table["c2st"] = table.pop("c2st_of_observations").astype(float)
    content = {
        "command": ["experiments/sbi_benchmark.py"],
        "candidates": {
            f"{task}, {simulations}": {name: " ".join(words) for name, words in candidates(task, simulations).items()}
            for task, published in PUBLISHED.items()
            for simulations in published
        },
        "samples": SAMPLES,
        "reference": str(SBIBM),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = table.drop(columns=["observations", "spread"])
    write_text(path.with_suffix(".csv"), kept.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
    write_json(path.with_suffix(".json"), origin() | content)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("sbi_benchmark.py", description="C2ST of posteriors of five simulators.")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), help="default: all")
    parser.add_argument(
        "--simulations", nargs="+", type=int, choices=sorted(TRAINING), default=sorted(TRAINING), help="default: all"
    )
    parser.add_argument(
        "--observations",
        type=int,
        choices=range(1, OBSERVATIONS + 1),
        default=OBSERVATIONS,
        metavar="N",
        help="the first N of 10 observations of each task; default: 10",
    )
    parser.add_argument("--directory", type=Path, default=Path("runs/sbi"), help="default: runs/sbi")
    parser.add_argument("--record", type=Path, metavar="PATH", help="write PATH.csv and PATH.json")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
