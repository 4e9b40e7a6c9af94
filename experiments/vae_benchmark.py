"""Posteriors of a variational autoencoder: Gaussians and flows, on two sets of digits.

    python experiments/vae_benchmark.py --record experiments/results/vae
    python experiments/vae_benchmark.py --data digits --posteriors diagonal planar --seeds 2

Every cell trains the same encoder and decoder for the same number of steps, with five seeds as a stack. Training
draws the pixels anew at each step; the weights of the best validation ELBO are kept. On held-out images it measures
the ELBO and the importance-weighted log p(x). The gain over the diagonal Gaussian is their sum of two parts: the bound
has become tighter, or the model has become better, in log p(x). A cell of digits takes about a minute on an idle core.

Runs and results are kept in --directory, one for each cell, so the same command continues where it stopped. The table
is printed after each cell. --record PATH writes PATH.csv, a row for each cell and seed, and PATH.json, the settings and
the commits.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas

from flowlab.cli.command import OK, report_mistakes
from flowlab.density.fit_many import fit_many
from flowlab.system.files import read_json, write_json
from flowlab.system.process import origin, protect_output
from flowlab.vae import active_units, build_vae, estimate_bounds, load_images
from flowlab.vae.gains import split_gains

REFERENCE = "diagonal"
POSTERIORS: dict[str, dict[str, Any]] = {
    "diagonal": {},
    "planar": {"flow": "planar", "options": {"depth": 8}},
    "iaf": {"flow": "iaf", "options": {"depth": 3, "hidden": [64]}},
    "full": {"covariance": "full"},
    "coupling": {"flow": "realnvp", "options": {"depth": 4, "hidden": [64]}},
    "spline": {"flow": "nsf", "options": {"depth": 2, "hidden": [64], "bins": 4, "mixing": "alternate"}},
}
# The sizes of the networks; steps of training; and importance weights for each held-out image.
DATA: dict[str, dict[str, Any]] = {
    "digits": {"latent": 8, "hidden": [128], "context": 64, "steps": 2000, "draws": 500},
    "mnist": {"latent": 16, "hidden": [128], "context": 64, "steps": 2000, "draws": 200},
}
TRAINING: dict[str, Any] = {"batch_size": 64, "lr": 0.003, "validate_every": 100, "log_every": 100, "patience": None}
MEASURED = ("elbo", "log_prob", "active", "best_step")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, given without the program's name; return the exit status."""
    options = _parse(arguments)
    with protect_output():
        return report_mistakes(lambda: _measure_cells(options), "the same command continues")


def _measure_cells(options: argparse.Namespace) -> int:
    for data in options.data:
        for posterior in options.posteriors:
            run_cell(data, posterior, options.seeds, options.steps, options.directory)
            print_table(split_gains(collect(options.directory), REFERENCE))
    if options.record:
        record(options.record, options.directory)
    return OK


def run_cell(data: str, posterior: str, seeds: int, steps: int | None, directory: Path) -> None:
    """Train the stack of a cell and measure it, unless that is done already."""
    path = directory / f"{data}_{posterior}.json"
    if len(read_json(path).get("elbo", [])) >= seeds:
        return
    begun, sizes = time.perf_counter(), dict(DATA[data])
    planned, draws = sizes.pop("steps"), sizes.pop("draws")
    taken = planned if steps is None else steps
    images = load_images(data, download=True)
    numbers = list(range(seeds))
    vaes = [build_vae(pixels=images.side**2, seed=seed, **sizes, **POSTERIORS[posterior]) for seed in numbers]
    courses = fit_many(
        vaes,
        images.train,
        seeds=numbers,
        validation=images.validation,
        steps=taken,
        directory=directory / f"{data}_{posterior}",
        progress="off",
        **TRAINING,
    )
    bounds = [estimate_bounds(vae, images.test, draws) for vae in vaes]
    cell = {
        "elbo": [float(each.elbo.mean()) for each in bounds],
        "log_prob": [float(each.log_prob.mean()) for each in bounds],
        "active": [int(active_units(vae, images.test).sum()) for vae in vaes],
        "best_step": [course.best_step for course in courses],
        "parameters": sum(parameter.numel() for parameter in vaes[0].parameters()),
        "minutes": (time.perf_counter() - begun) / 60,
        "steps": taken,
        "git_commit": origin()["git_commit"],
    }
    directory.mkdir(parents=True, exist_ok=True)
    write_json(path, cell)


def _commits(directory: Path) -> list[str]:
    """The commits of the code that trained the cells, each once."""
    cells = [read_json(directory / f"{data}_{posterior}.json") for data in DATA for posterior in POSTERIORS]
    return sorted({str(cell.get("git_commit")) for cell in cells if cell})


def collect(directory: Path) -> pandas.DataFrame:
    """A row for each cell and seed that has been measured."""
    rows = []
    for data in DATA:
        for posterior in POSTERIORS:
            cell = read_json(directory / f"{data}_{posterior}.json")
            for seed in range(len(cell.get("elbo", []))):
                measured = {name: cell[name][seed] for name in MEASURED}
                rows.append({"data": data, "posterior": posterior, "seed": seed} | measured)
                rows[-1] |= {name: cell[name] for name in ("parameters", "steps", "minutes")}
    return pandas.DataFrame(rows)


def print_table(table: pandas.DataFrame) -> None:
    """Print means and intervals, in nats."""
    print(
        f"{'data':<7} {'posterior':<9} {'seeds':>5} {'ELBO':>15} {'log p':>15} {'gap':>5} {'gain':>13} "
        f"{'of model':>13} {'of bound':>13} {'active':>6} {'numbers':>8}"
    )
    for row in table.itertuples():
        print(
            f"{row.data:<7} {row.posterior:<9} {row.seeds:>5} {row.elbo:>8.2f} +- {row.elbo_interval:<4.2f} "
            f"{row.log_prob:>7.2f} +- {row.log_prob_interval:<4.2f} {row.gap:>5.2f} "
            f"{row.gain:>+6.2f} +- {row.gain_interval:<4.2f} {row.model:>+5.2f} +- {row.model_interval:<4.2f} "
            f"{row.bound:>+5.2f} +- {row.bound_interval:<4.2f} {row.active:>6.1f} {row.parameters:>8,}",
            flush=True,
        )


def record(path: Path, directory: Path) -> None:
    """Write the rows and the settings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = collect(directory)
    rows.round({"elbo": 4, "log_prob": 4, "minutes": 1}).to_csv(path.with_suffix(".csv"), index=False)
    source = origin()
    settings = source | {
        "command": ["experiments/vae_benchmark.py", "--data", *rows.data.unique()],
        "commits_of_cells": _commits(directory),
        "posteriors": {name: POSTERIORS[name] for name in rows.posterior.unique()},
        "data": {name: DATA[name] for name in rows.data.unique()},
        "training": TRAINING,
        "likelihood": "Bernoulli; pixels drawn anew in training, once for validation and test",
        "packages": source["packages"] | {"scikit-learn": version("scikit-learn")},
    }
    write_json(path.with_suffix(".json"), settings)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("vae_benchmark.py", description="Posteriors of a variational autoencoder.")
    parser.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA), help="default: all")
    parser.add_argument(
        "--posteriors", nargs="+", choices=list(POSTERIORS), default=list(POSTERIORS), help="default: all"
    )
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="default: 5")
    parser.add_argument("--steps", type=int, metavar="N", help="steps of each training; default: those of the data")
    parser.add_argument("--directory", type=Path, default=Path("runs/vae"), help="default: runs/vae")
    parser.add_argument("--record", type=Path, metavar="PATH", help="write PATH.csv and PATH.json")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
