"""Posteriors of a variational autoencoder: Gaussians and flows, on two sets of digits.

    python experiments/vae_benchmark.py --record experiments/results/vae
    python experiments/vae_benchmark.py --data digits --posteriors diagonal planar --seeds 2

Every cell trains the same encoder and decoder for the same number of steps, with five seeds as a stack. It follows the
path-derivative gradient of the ELBO. That gradient can make planar layers fail, so they are trained with the full one
as well, and validation chooses. Training draws the pixels anew at each step; the weights of the best validation ELBO
are kept. On held-out images it measures the ELBO and the importance-weighted log p(x). The gain over the diagonal
Gaussian is the sum of two parts: the bound has become tighter, or the model has become better, in log p(x). A cell
takes 2 to 16 minutes on one core.

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
    "iaf": {"flow": "iaf", "options": {"depth": 3, "hidden": [128], "activation": "elu"}},
    "full": {"covariance": "full"},
    "coupling": {"flow": "realnvp", "options": {"depth": 4, "hidden": [64]}},
    "spline": {"flow": "nsf", "options": {"depth": 2, "hidden": [64], "bins": 4, "mixing": "alternate"}},
}
GRADIENTS = {"planar": ("path", "full")}  # of those that are trained with more than the path-derivative gradient
# The sizes of the networks.
DATA: dict[str, dict[str, Any]] = {
    "digits": {"latent": 8, "hidden": [128], "context": 64},
    "mnist": {"latent": 16, "hidden": [256], "context": 128},
}
TRAINING: dict[str, dict[str, Any]] = {
    "digits": {"steps": 4000, "batch_size": 64, "lr": 0.003},
    "mnist": {"steps": 3000, "batch_size": 256, "lr": 0.002},
}
OFTEN: dict[str, Any] = {"validate_every": 100, "log_every": 100, "patience": None}
DRAWS = {"digits": 500, "mnist": 200}  # importance weights for each held-out image
MEASURED = ("elbo", "log_prob", "active", "best_step", "validation_loss")


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
    """Train and measure a cell with each of its gradients, unless that is done already."""
    for gradient in GRADIENTS.get(posterior, ("path",)):
        place = directory / f"{data}_{posterior}_{gradient}"
        if len(read_json(_result(place)).get("elbo", [])) < seeds:
            settings = DATA[data] | POSTERIORS[posterior] | {"gradient": gradient}
            training = TRAINING[data] | OFTEN | ({} if steps is None else {"steps": steps})
            cell = train_cell(data, settings, training, list(range(seeds)), place)
            write_json(_result(place), cell | {"gradient": gradient})


def _result(place: Path) -> Path:
    return place.with_name(f"{place.name}.json")


def train_cell(
    data: str, settings: dict[str, Any], training: dict[str, Any], seeds: list[int], place: Path
) -> dict[str, Any]:
    """Train a stack, and measure each of its models."""
    begun, images = time.perf_counter(), load_images(data, download=True)
    vaes = [build_vae(seed=seed, pixels=images.side**2, **settings) for seed in seeds]
    courses = fit_many(
        vaes,
        images.train,
        seeds=seeds,
        validation=images.validation,
        directory=place,
        progress="off",
        **training,
    )
    bounds = [estimate_bounds(vae, images.test, DRAWS[data]) for vae in vaes]
    return {
        "elbo": [float(each.elbo.mean()) for each in bounds],
        "log_prob": [float(each.log_prob.mean()) for each in bounds],
        "active": [int(active_units(vae, images.test).sum()) for vae in vaes],
        "best_step": [course.best_step for course in courses],
        "validation_loss": [float(course.history["validation_loss"].min()) for course in courses],
        "parameters": sum(parameter.numel() for parameter in vaes[0].parameters()),
        "minutes": (time.perf_counter() - begun) / 60,
        "steps": training["steps"],
        "git_commit": origin()["git_commit"],
    }


def best_cell(data: str, posterior: str, directory: Path) -> dict[str, Any]:
    """The measured cell whose gradient has the lowest mean validation loss; empty if there is none."""
    places = [directory / f"{data}_{posterior}_{each}" for each in GRADIENTS.get(posterior, ("path",))]
    cells = [cell for place in places if (cell := read_json(_result(place)))]
    return min(cells, key=lambda cell: sum(cell["validation_loss"]) / len(cell["validation_loss"]), default={})


def _commits(directory: Path) -> list[str]:
    """The commits of the code that trained the cells, each once."""
    cells = [best_cell(data, posterior, directory) for data in DATA for posterior in POSTERIORS]
    return sorted({str(cell.get("git_commit")) for cell in cells if cell})


def collect(directory: Path) -> pandas.DataFrame:
    """A row for each cell and seed that has been measured."""
    rows = []
    for data in DATA:
        for posterior in POSTERIORS:
            cell = best_cell(data, posterior, directory)
            for seed in range(len(cell.get("elbo", []))):
                measured = {name: cell[name][seed] for name in MEASURED}
                rows.append({"data": data, "posterior": posterior, "seed": seed} | measured)
                rows[-1] |= {name: cell[name] for name in ("parameters", "gradient", "steps", "minutes")}
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
    rows.round({"elbo": 4, "log_prob": 4, "validation_loss": 4, "minutes": 1}).to_csv(
        path.with_suffix(".csv"), index=False
    )
    source = origin()
    settings = source | {
        "command": ["experiments/vae_benchmark.py", "--data", *rows.data.unique()],
        "commits_of_cells": _commits(directory),
        "posteriors": {name: POSTERIORS[name] for name in rows.posterior.unique()},
        "gradients": {name: GRADIENTS.get(name, ("path",)) for name in rows.posterior.unique()},
        "data": {name: DATA[name] for name in rows.data.unique()},
        "training": {name: TRAINING[name] | OFTEN for name in rows.data.unique()},
        "draws": {name: DRAWS[name] for name in rows.data.unique()},
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
