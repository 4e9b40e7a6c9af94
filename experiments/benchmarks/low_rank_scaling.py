"""Time of inverse, log det and gradients by dimension: dense, triangular plus low rank, diagonal plus low rank.

    python experiments/benchmarks/low_rank_scaling.py [--dims 64 128 ... 8192] [--repeat 11] [--record PATH]

One thread, float32, 64 vectors, rank 8. Each side computes the log det, and the images (`forward`) or the pre-images
(`inverse`) of the vectors. `gradient` is the inverse and its backward pass, to the vectors and every parameter. The
dense side factorizes its matrix once (LU) for the log det and the solution. It is measured up to d = 4096: at 8192 it
takes eight times as long. Memory is the peak of a separate process for each side at its largest dimension, minus the
peak of the same work at d = 64. It counts matrix or parameters, vectors and intermediate results.

The last lines are `ratio: R`: the median time of dense over `LowRankAffine`, at the largest dimension of the dense
side. With the default dimensions the script takes three minutes. `--record experiments/results/low_rank_scaling` also
writes the table and its provenance, as PATH.csv and PATH.json.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pandas
import torch
from low_rank_sides import RANK, SEED, SIDES, TASKS, VECTORS, peak_megabytes, seconds_of, works
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from flowlab.plotting import fitted_exponent
from flowlab.system.files import write_json, write_text
from flowlab.system.process import origin, set_threads

DIMS = [64, 128, 256, 512, 1024, 2048, 4096, 8192]
LARGEST_DENSE = 4096
FIT_FROM = 512  # below it, starting operations takes the time, not arithmetic
SHORTEST = 0.02  # seconds: repeat a faster task until it has taken as long


def dims_of(side: str, dims: list[int]) -> list[int]:
    return [dim for dim in dims if side != "dense" or dim <= LARGEST_DENSE]


def measure(dim: int, repeat: int) -> list[dict[str, object]]:
    """A row for each side and task; the sides take turns, so a busy machine disturbs all equally."""
    sides = [side for side in SIDES if dims_of(side, [dim])]
    tasks = {(side, task): work for side in sides for task, work in works(side, dim).items()}
    for work in tasks.values():
        work()
    calls = {key: max(1, round(SHORTEST / seconds_of(work))) for key, work in tasks.items()}
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


def ratios(table: pandas.DataFrame, dim: int) -> dict[str, float]:
    """Dense over each structured side at this dimension, by task."""
    seconds = table[table["dim"] == dim].set_index(["side", "task"])["median_seconds"]
    return {
        f"{side} {task}": float(seconds["dense", task] / seconds[side, task]) for side in SIDES[1:] for task in TASKS
    }


def record(path: Path, table: pandas.DataFrame, results: dict[str, object]) -> None:
    """Write the times to PATH.csv; write ratios, exponents and provenance to PATH.json."""
    source = origin()
    content = {
        **results,
        "vectors": VECTORS,
        "rank": RANK,
        "dtype": "float32",
        "exponents_fitted_from_dim": FIT_FROM,
        "threads": 1,
        "seed": SEED,
        **source,
        "command": [Path(word).name if Path(word).is_absolute() else word for word in source["command"]],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    rounded = table.to_csv(index=False, lineterminator="\n", float_format="%.4g")
    write_text(Path(f"{path}.csv"), rounded)
    write_json(Path(f"{path}.json"), content)
    print(f"wrote {path}.csv and {path}.json")


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of inverse, log det and gradients against the dimension.")
    parser.add_argument("--dims", type=int, nargs="+", default=DIMS)
    parser.add_argument("--repeat", type=int, default=11, help="times that each is measured, in turn")
    parser.add_argument("--record", metavar="PATH", type=Path, help="also write PATH.csv and PATH.json")
    options = parser.parse_args()
    shared = dims_of("dense", options.dims)
    if not shared:
        parser.error(f"--dims: dense is measured up to {LARGEST_DENSE}, give one dimension that is not above")
    begun = time.perf_counter()
    largest = {side: max(dims_of(side, options.dims)) for side in SIDES}
    peaks = {side: {"dim": dim, **peak_megabytes(side, dim)} for side, dim in largest.items()}
    with set_threads(1), torch.no_grad():
        table = pandas.DataFrame([row for dim in options.dims for row in measure(dim, options.repeat)])
    fitted, ratio = exponents(table), ratios(table, max(shared))
    report(table, fitted, peaks)
    if options.record:
        results = {
            "seconds": round(time.perf_counter() - begun, 1),
            "exponents": {f"{side} {task}": float(fitted.loc[side, task]) for side in fitted.index for task in fitted},
            "ratios_at_dim": max(shared),
            "ratios": ratio,
            "peak_megabytes": peaks,
        }
        record(options.record, table, results)
    for name, value in ratio.items():
        print(f"ratio: {value:.1f}  dense over {name}, d = {max(shared)}")


def report(table: pandas.DataFrame, fitted: pandas.DataFrame, peaks: dict[str, dict[str, float]]) -> None:
    """Print all milliseconds, the exponents and the memory."""
    console = Console(width=120)
    for task in TASKS:
        title = f"{task} of {VECTORS} vectors and log det: median (least to greatest) milliseconds"
        rich = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
        for name in ("d", *SIDES):
            rich.add_column(name, justify="right")
        for dim, rows in table[table["task"] == task].groupby("dim"):
            milliseconds = 1e3 * rows.set_index("side")[["median_seconds", "least_seconds", "greatest_seconds"]]
            cells = {side: "{:.3g} ({:.3g} to {:.3g})".format(*times) for side, *times in milliseconds.itertuples()}
            rich.add_row(str(dim), *(cells.get(side, "") for side in SIDES))
        if len(fitted):
            rich.add_row(f"exponent, d >= {FIT_FROM}", *(f"{fitted.loc[side, task]:.2f}" for side in SIDES))
        console.print(rich)
    rich = Table(box=SIMPLE_HEAD, title="peak memory in megabytes", title_justify="left")
    for name in ("", "d", "inverse and forward", "with gradients"):
        rich.add_column(name, justify="right")
    for side, peak in peaks.items():
        rich.add_row(side, str(peak["dim"]), f"{peak['answers']:.0f}", f"{peak['gradient']:.0f}")
    console.print(rich)


if __name__ == "__main__":
    main()
