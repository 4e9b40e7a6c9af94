"""Microseconds a training step of coupling and autoregressive flows: flowlab, flowjax, zuko, nflows, normflows.

    python experiments/benchmarks/modern_speed.py [--kind coupling] [--map spline] [--dim 2 10 43] [--rounds 3]

Eight layers, conditioners with one hidden layer of 50, splines of 8 bins, 512 points a step, Adam. flowlab trains
through `flowlab.fit`, compiled and eager; flowjax in one `lax.scan`, as it comes and kept to one core, in its own
processes; the others in the shortest loop of torch. All sides take turns in one run. Torch has `--threads` threads.

The compiler's cache is a new directory: the first compiled fit of a cell compiles (cold), each later one finds the
compiled code on disk (warm). A table gives the seconds until the first step is done. The last lines are `ratio: R`,
geometric means over the cells and the largest. It needs the packages of `make bench`.

A compiled spline layer takes longer than flowjax's. Of the CPU time of a step at d = 2, 4.4 ms on a busy machine, more
than nine tenths is inside the kernels, about 250 us a layer forward and 280 us backward; the calls of the pieces take
the rest. The bins are the last dimension, eight numbers long, so the compiler's loops over them use the processor's
vectors badly. With the bins first, the spline alone takes 0.7 (d = 1) to 0.85 (d = 10) of the time.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from modern_peers import PEERS, log_prob
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import flowlab

BATCH, ROWS = 512, 10_000
PRESETS = {
    ("coupling", "affine"): "realnvp",
    ("coupling", "spline"): "coupling",
    ("autoregressive", "affine"): "maf",
    ("autoregressive", "spline"): "nsf_ar",
}
Cell = tuple[str, str, int]
Side = Callable[[int], float]  # takes a number of steps; returns microseconds a step


class Flowlab:
    """Trains by `flowlab.fit`; `waits` are the seconds until the first step was done."""

    def __init__(self, cell: Cell, compiled: bool) -> None:
        kind, map, self.dim = cell
        words = (f"flow={PRESETS[kind, map]}", "flow.hidden=[50]", "flow.depth=8")
        self.settings = flowlab.compose(*words).flow
        self.compile, self.waits = "true" if compiled else "false", list[float]()

    def __call__(self, steps: int) -> float:
        flow, points = self.settings.build((self.dim,)), torch.randn(ROWS, self.dim)
        settings: dict[str, Any] = {"compile": self.compile, "progress": "off", "log_every": steps}
        begun = time.perf_counter()
        fitted = flowlab.fit(flow, points, validation=None, steps=2 * steps, batch_size=BATCH, lr=1e-3, **settings)
        whole = time.perf_counter() - begun
        first, second = fitted.history["seconds"]
        self.waits.append(whole - 2 * (second - first))
        return 1e6 * (second - first) / steps


class Torch:
    """Trains a peer in the shortest loop of torch."""

    def __init__(self, cell: Cell, name: str) -> None:
        self.flow, self.dim = PEERS[name](*cell), cell[2]
        self.optimizer = torch.optim.Adam(self.flow.parameters(), lr=1e-3)

    def __call__(self, steps: int) -> float:
        self._train(3)
        begun = time.perf_counter()
        self._train(steps)
        return 1e6 * (time.perf_counter() - begun) / steps

    def _train(self, steps: int) -> None:
        for _ in range(steps):
            loss = -log_prob(self.flow, torch.randn(BATCH, self.dim)).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()


class Flowjax:
    """Trains flowjax in its own process, so the threads of JAX and of torch do not interfere."""

    def __init__(self, program: subprocess.Popen[str]) -> None:
        self.program = program

    def __call__(self, steps: int) -> float:
        assert self.program.stdin
        assert self.program.stdout
        print(json.dumps({"steps": steps}), file=self.program.stdin, flush=True)
        line = self.program.stdout.readline()
        if not line:
            sys.exit(f"flowjax: exit status {self.program.wait()}")
        return 1e6 * json.loads(line)["seconds"] / steps


@contextlib.contextmanager
def flowjax(cell: Cell, *options: str) -> Iterator[Flowjax]:
    command = [sys.executable, str(Path(__file__).with_name("peer_flowjax.py")), *map(str, cell), *options]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as program:
        yield Flowjax(program)
        assert program.stdin
        program.stdin.close()


def measure(cell: Cell, rounds: int, steps: int) -> tuple[dict[str, float], list[float]]:
    """The median microseconds a step of every side, and the seconds that each compiled fit waited."""
    compiled, taken = Flowlab(cell, True), defaultdict[str, list[float]](list)
    with flowjax(cell) as jax, flowjax(cell, "--one-core") as on_one_core:
        fast: dict[str, Side] = {"compiled": compiled, "flowjax": jax, "flowjax, one core": on_one_core}
        slow: dict[str, Side] = {"eager": Flowlab(cell, False), **{name: Torch(cell, name) for name in PEERS}}
        for _ in range(rounds):
            for name, side in (fast | slow).items():
                taken[name].append(side(steps if name in fast else max(5, steps // 5)))
    return {name: statistics.median(times) for name, times in taken.items()}, compiled.waits


def main() -> None:
    parser = argparse.ArgumentParser(description="Microseconds a step of coupling and autoregressive flows.")
    parser.add_argument("--kind", nargs="+", default=["coupling", "autoregressive"])
    parser.add_argument("--map", nargs="+", default=["affine", "spline"])
    parser.add_argument("--dim", nargs="+", type=int, default=[2, 10, 43])
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side")
    parser.add_argument("--steps", type=int, default=1000, help="of a turn at 2 dimensions; fewer at more")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    times, table = {}, Table(box=SIMPLE_HEAD, title="microseconds a step (medians)", title_justify="left")
    waits = Table(box=SIMPLE_HEAD, title="seconds until the first compiled step is done", title_justify="left")
    with tempfile.TemporaryDirectory() as directory:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = directory
        for cell in itertools.product(options.kind, options.map, options.dim):
            times[cell], waited = measure(cell, options.rounds, max(10, 2 * options.steps // (2 + cell[2])))
            if not table.columns:
                for name in ("", *times[cell]):
                    table.add_column(name, justify="right" if name else "left")
                for name in ("", "cold", "warm"):
                    waits.add_column(name, justify="right" if name else "left")
            label = " ".join(map(str, cell))
            table.add_row(label, *(f"{time:.0f}" for time in times[cell].values()))
            waits.add_row(label, f"{waited[0]:.1f}", f"{statistics.median(waited[1:]):.1f}" if waited[1:] else "")
            print(label, {name: round(time) for name, time in times[cell].items()}, file=sys.stderr, flush=True)
    console = Console(width=120)
    console.print(table)
    console.print(waits)
    for ours, theirs in (
        ("compiled", "flowjax"),
        ("compiled", "flowjax, one core"),
        ("compiled", "zuko"),
        ("eager", "zuko"),
    ):
        ratios = [each[ours] / each[theirs] for each in times.values()]
        mean = math.exp(statistics.fmean(map(math.log, ratios)))
        print(f"ratio: {mean:.3f}  flowlab, {ours} over {theirs}: mean")
        print(f"ratio: {max(ratios):.3f}  flowlab, {ours} over {theirs}: worst cell")


if __name__ == "__main__":
    main()
