"""What log det and inverse cost against the dimension: dense, triangle plus low rank, diagonal plus low rank.

    python experiments/benchmarks/low_rank_scaling.py [--dims 64 128 ... 4096] [--repeat 11] [--record PATH]

One thread, float32, 64 vectors, rank 8. Each side gives the log det and, of the vectors, the images (`forward`) or the
pre-images (`inverse`). Dense takes one LU factorisation of its matrix, which serves the log det and the solution. The
last lines are `ratio: R`, the median time of dense over that of a `LowRankAffine`, at the largest dimension.

With the default dimensions it takes about a minute. `--record experiments/results/low_rank_scaling` also writes the
table and where it came from, as PATH.csv and PATH.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor

from flowlab.bijectors import LowRankAffine
from flowlab.files import write_json, write_text
from flowlab.plotting import fitted_exponent
from flowlab.seeding import generator
from flowlab.sweeps.record import without_paths
from flowlab.training.provenance import origin
from flowlab.training.surroundings import threads

VECTORS, RANK, SEED = 64, 8, 0
DIMS = [64, 128, 256, 512, 1024, 2048, 4096]
FIT_FROM = 512  # below, the time is that of starting operations, not of arithmetic
SIDES = ("dense", "tril", "diag")
SHORTEST = 0.02  # seconds: what is faster is measured several times in a row

Work = Callable[[], tuple[Tensor, Tensor]]


def dense(matrix: Tensor, points: Tensor) -> dict[str, Work]:
    """The two tasks with a dense matrix, on points that stand in rows."""

    def log_det(lu: Tensor) -> Tensor:
        return lu.diagonal().abs().log().sum()

    def forward() -> tuple[Tensor, Tensor]:
        return points @ matrix.mT, log_det(torch.linalg.lu_factor_ex(matrix)[0])

    def inverse() -> tuple[Tensor, Tensor]:
        lu, pivots, _ = torch.linalg.lu_factor_ex(matrix)
        return torch.linalg.lu_solve(lu, pivots, points.mT).mT, -log_det(lu)

    return {"forward": forward, "inverse": inverse}


def works(dim: int) -> dict[tuple[str, str], Work]:
    """Both tasks by each side; the dense matrix is that of the triangle plus its low-rank update."""
    start = generator(SEED, "benchmark", dim)
    points = torch.randn(VECTORS, dim, generator=start)
    structured = {kind: LowRankAffine(dim, RANK, kind, factor_scale=dim**-0.5, generator=start) for kind in SIDES[1:]}
    with torch.no_grad():  # away from the identity, yet well conditioned
        for affine in structured.values():
            affine.scale.add_(0.2 * dim**-0.5 * torch.randn(affine.scale.shape, generator=start))
    tasks = {("dense", task): work for task, work in dense(structured["tril"].dense().detach(), points).items()}
    for kind, affine in structured.items():
        tasks[kind, "forward"] = partial(affine.forward_and_log_det, points)
        tasks[kind, "inverse"] = partial(affine.inverse_and_log_det, points)
    return tasks


def seconds_of(work: Work, calls: int) -> float:
    begun = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - begun) / calls


def measure(dim: int, repeat: int) -> list[dict[str, object]]:
    """A row for each side and task; the sides take turns, so that a busy machine disturbs all alike."""
    tasks = works(dim)
    for work in tasks.values():
        work()
    calls = {key: max(1, round(SHORTEST / seconds_of(work, 1))) for key, work in tasks.items()}
    taken: dict[tuple[str, str], list[float]] = {key: [] for key in tasks}
    for _ in range(repeat):
        for key, work in tasks.items():
            taken[key].append(seconds_of(work, calls[key]))
    rows = []
    for (side, task), seconds in taken.items():
        times = pandas.Series(seconds)
        numbers = {"median_seconds": times.median(), "least_seconds": times.min(), "greatest_seconds": times.max()}
        rows.append({"task": task, "side": side, "dim": dim, "repeat": repeat, **numbers})
    return rows


def exponents(table: pandas.DataFrame) -> pandas.DataFrame:
    """The fitted exponent of each side (row) and task (column), over the dimensions from FIT_FROM on."""
    large = table[table["dim"] >= FIT_FROM]
    fitted = {
        key: fitted_exponent(rows["dim"], rows["median_seconds"])
        for key, rows in large.groupby(["side", "task"], sort=False)
        if len(rows) > 1
    }
    return pandas.Series(fitted, dtype=float).unstack() if fitted else pandas.DataFrame()


def ratios(table: pandas.DataFrame) -> dict[str, float]:
    """Dense over each structured side at the largest dimension, by task."""
    largest = table[table["dim"] == table["dim"].max()].set_index(["side", "task"])["median_seconds"]
    return {
        f"{side} {task}": float(largest["dense", task] / largest[side, task])
        for side in SIDES[1:]
        for task in ("inverse", "forward")
    }


def record(
    path: Path, table: pandas.DataFrame, fitted: pandas.DataFrame, ratio: dict[str, float], seconds: float
) -> None:
    """Write PATH.csv, the times, and PATH.json, what was made of them and where they came from."""
    content = {
        "seconds": round(seconds, 1),
        "vectors": VECTORS,
        "rank": RANK,
        "dtype": "float32",
        "exponents": {f"{side} {task}": float(fitted.loc[side, task]) for side in fitted.index for task in fitted},
        "exponents_fitted_from_dim": FIT_FROM,
        "ratios_at_largest_dim": ratio,
        "threads": 1,
        "seed": SEED,
        **{key: without_paths(value) for key, value in origin().items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    rounded = table.to_csv(index=False, lineterminator="\n", float_format="%.4g")
    write_text(Path(f"{path}.csv"), rounded)
    write_json(Path(f"{path}.json"), content)
    print(f"wrote {path}.csv and {path}.json")


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of log det and inverse against the dimension.")
    parser.add_argument("--dims", type=int, nargs="+", default=DIMS)
    parser.add_argument("--repeat", type=int, default=11, help="times that each is measured, in turn")
    parser.add_argument("--record", metavar="PATH", type=Path, help="also write PATH.csv and PATH.json")
    options = parser.parse_args()
    begun = time.perf_counter()
    with threads(1), torch.no_grad():
        table = pandas.DataFrame([row for dim in options.dims for row in measure(dim, options.repeat)])
    fitted, ratio = exponents(table), ratios(table)
    report(table, fitted)
    if options.record:
        record(options.record, table, fitted, ratio, time.perf_counter() - begun)
    for name, value in ratio.items():
        print(f"ratio: {value:.1f}  dense over {name}, d = {max(options.dims)}")


def report(table: pandas.DataFrame, fitted: pandas.DataFrame) -> None:
    """Print the milliseconds of all, and the exponents."""
    console = Console(width=120)
    for task in ("inverse", "forward"):
        title = f"{task} of {VECTORS} vectors and log det: median (least to greatest) milliseconds"
        rich = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
        for name in ("d", *SIDES):
            rich.add_column(name, justify="right")
        for dim, rows in table[table["task"] == task].groupby("dim"):
            milliseconds = 1e3 * rows.set_index("side")[["median_seconds", "least_seconds", "greatest_seconds"]]
            cells = ["{:.3g} ({:.3g} to {:.3g})".format(*milliseconds.loc[side]) for side in SIDES]
            rich.add_row(str(dim), *cells)
        if len(fitted):
            rich.add_row(f"exponent, d >= {FIT_FROM}", *(f"{fitted.loc[side, task]:.2f}" for side in SIDES))
        console.print(rich)


if __name__ == "__main__":
    main()
