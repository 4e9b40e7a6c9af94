"""Samples, log densities and memory of many points: torch.distributions over flowlab.

    python experiments/benchmarks/throughput.py [--points 1000000] [--evaluated 10000000] [--repeat 11] [--threads 1 2]

float32, without gradients. The chain has 8 elementwise layers that both sides have, none trivial: affine, sigmoid,
affine, tanh, affine, exp, affine, softplus, on a standard normal. torch's side is a TransformedDistribution of torch's
own transforms, without validation of arguments, which is its fastest form. Both sides must give the same log densities
before anything is measured. All points lie inside the support. Two tasks have no peer: the default flow of
`flowlab.compose()` (d = 2, 6 affine maps with smooth PReLUs between), and `evaluate`, which scores a flow on held-out
points of a target with a known density.

Both sides of the chain take turns, so a busy machine disturbs both equally. The tasks without a peer come last: after
tensors of 10^7 points the C library keeps memory that it otherwise returns to the system. A separate process measures
the memory of each task: its peak, points and results included, minus its memory before the first point. Only Linux
reports this.

The last lines are `ratio: R`: the median time of torch.distributions over flowlab. The script takes about two minutes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.distributions import Normal, TransformedDistribution, transforms

import flowlab
from flowlab import Flow
from flowlab.bijectors import AffineScalar, Chain, Exp, Sigmoid, Softplus, Tanh
from flowlab.flows._assemble import assemble
from flowlab.metrics.evaluation import TEST, evaluate
from flowlab.seeding import generator
from flowlab.system.process import set_threads

SEED = 0
FEW = 1000  # points of the first call, which is not measured
OURS, THEIRS, DEFAULT = "flowlab, 8 layers", "torch.distributions, 8 layers", "flowlab, default flow"

LAYERS = (
    (AffineScalar(0.3, 0.8), transforms.AffineTransform(0.3, 0.8)),
    (Sigmoid(), transforms.SigmoidTransform()),
    (AffineScalar(-1.0, 2.5), transforms.AffineTransform(-1.0, 2.5)),
    (Tanh(), transforms.TanhTransform()),
    (AffineScalar(0.2, 1.5), transforms.AffineTransform(0.2, 1.5)),
    (Exp(), transforms.ExpTransform()),
    (AffineScalar(-1.0, 0.7), transforms.AffineTransform(-1.0, 0.7)),
    (Softplus(), transforms.SoftplusTransform()),
)

Work = Callable[[], object]
Key = tuple[str, str]  # a side and what it does


def base() -> Normal:
    return Normal(torch.tensor(0.0), torch.tensor(1.0), validate_args=False)


def our_chain() -> Flow:
    return Flow(base(), Chain([bijector for bijector, _ in LAYERS]))


def their_chain() -> TransformedDistribution:
    return TransformedDistribution(base(), [transform for _, transform in LAYERS], validate_args=False)


def default_flow() -> Flow:
    return assemble(flowlab.compose().flow, (2,), None, generator(SEED, "start"))


SIDES: dict[str, Callable[[], Flow | TransformedDistribution]] = {
    OURS: our_chain,
    THEIRS: their_chain,
    DEFAULT: default_flow,
}


def works(points: int, evaluated: int) -> dict[Key, Callable[[], Work]]:
    """The tasks by side and name; a task builds its flow and its points when it is called."""

    def sampling(side: str) -> Work:
        made = SIDES[side]()
        return lambda: made.sample((points,))

    def scoring(side: str) -> Work:
        made, y = SIDES[side](), SIDES[OURS if side == THEIRS else side]().sample((points,))
        return lambda: made.log_prob(y)

    def evaluating() -> Work:
        flow, target = default_flow(), flowlab.compose().target.build()
        held_out = target.batch("test", evaluated, SEED)
        return lambda: evaluate(flow, held_out, target).measure(TEST)

    tasks: dict[Key, Callable[[], Work]] = {}
    for side in SIDES:
        tasks[side, "log_prob"] = lambda side=side: scoring(side)  # type: ignore[misc]
        tasks[side, "sample"] = lambda side=side: sampling(side)  # type: ignore[misc]
    return tasks | {(DEFAULT, "evaluate"): evaluating}


def agree(points: int) -> None:
    """Check that both sides give the same log densities.

    Raises:
        AssertionError: the log densities differ by more than rounding.
    """
    y: Tensor = our_chain().sample((points,))
    torch.testing.assert_close(our_chain().log_prob(y), their_chain().log_prob(y), rtol=1e-5, atol=1e-5)


def held(what: str) -> int:
    """Bytes that this process holds (VmRSS), or the most it has held (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(f"{what}:")))


def peak(key: Key, points: int, evaluated: int) -> float:
    """Megabytes by which one task raises the peak of this process, which has done nothing yet."""
    works(FEW, FEW)[key]()()
    before = held("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    result = works(points, evaluated)[key]()()
    megabytes = (held("VmHWM") - before) / 1e6
    del result
    return megabytes


def peaks(points: int, evaluated: int) -> dict[Key, float]:
    """The peak memory of each task, each in a separate process."""
    megabytes = {}
    for key in works(points, evaluated):
        words = ["--points", str(points), "--evaluated", str(evaluated), "--memory", *key]
        done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{', '.join(key)}: exit status {done.returncode}\n{done.stderr}")
        megabytes[key] = float(done.stdout)
    return megabytes


def measure(tasks: dict[Key, Work], repeat: int) -> pandas.DataFrame:
    """Seconds of each task (column) in each round (row)."""
    rounds = []
    for _ in range(repeat + 1):
        seconds = {}
        for key, work in tasks.items():
            begun = time.perf_counter()
            work()
            seconds[key] = time.perf_counter() - begun
        rounds.append(seconds)
    return pandas.DataFrame(rounds[1:])  # the first round allocates memory that later rounds reuse


def report(seconds: pandas.DataFrame, megabytes: dict[Key, float], count: int, options: argparse.Namespace) -> None:
    """Print the times of all tasks with one number of threads."""
    table = Table(box=SIMPLE_HEAD, title=f"{count} thread{'s' if count > 1 else ''}", title_justify="left")
    columns = ("", "task", "points", "median milliseconds", "least", "greatest", "million a second", "peak MB")
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number > 1 else "left")
    for key, taken in seconds.items():
        points = options.evaluated if key[1] == "evaluate" else options.points
        times = (f"{1e3 * number:.4g}" for number in (taken.median(), taken.min(), taken.max()))
        table.add_row(*key, f"{points:,}", *times, f"{points / taken.median() / 1e6:.3g}", f"{megabytes[key]:.0f}")
    Console(width=130).print(table)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description="Samples and log densities a second, and the memory they take.")
    parser.add_argument("--points", type=int, default=10**6, help="that are sampled and scored")
    parser.add_argument("--evaluated", type=int, default=10**7, help="points of `evaluate`")
    parser.add_argument("--repeat", type=int, default=11, help="times that each is measured, in turn")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of torch, one table for each")
    parser.add_argument("--memory", nargs=2, metavar=("SIDE", "TASK"), help="print the peak of one task, in MB")
    options = parser.parse_args()
    if options.memory:
        with set_threads(1):
            print(peak(tuple(options.memory), options.points, options.evaluated))
        return
    agree(options.points)
    megabytes = peaks(options.points, options.evaluated)
    seconds: dict[int, pandas.DataFrame] = {}
    for compared in (True, False):
        makers = works(options.points, options.evaluated).items()
        tasks = {key: make() for key, make in makers if (key[0] != DEFAULT) == compared}
        for count in options.threads:
            with set_threads(count):
                measured = measure(tasks, options.repeat)
            seconds[count] = measured if compared else seconds[count].join(measured)
    for count in options.threads:
        report(seconds[count], megabytes, count, options)
    for count in options.threads:
        for task in ("log_prob", "sample"):
            ratio = seconds[count][THEIRS, task].median() / seconds[count][OURS, task].median()
            print(f"ratio: {ratio:.2f}  torch.distributions over flowlab, {task}, threads = {count}")


if __name__ == "__main__":
    main()
