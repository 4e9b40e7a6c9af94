"""Stacked training on a GPU: steps and flows a second, by minibatch size and stack size.

    python experiments/benchmarks/gpu.py [--jobs 1 8 64 256] [--batch-sizes 512 4096 32768] [--steps 500] [--repeat 5]

The banana with the default flow, float32. A step draws its minibatches on the device and is one CUDA graph of the
compiled step. torch refuses any synchronization between host and device. The clock runs until the device has
taken `--steps` steps; compilation and capture come before. The last line is `ratio: R`: flows times steps a second of
the largest stack over a single flow, at the smallest minibatch.

Without a GPU the script says so and measures nothing. `--device cpu` runs it on the processor, to check that it works.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import product

import pandas
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor

import flowlab
from flowlab.targets.base import Batch, ExactTarget
from flowlab.training.build import build, build_batches
from flowlab.training.compile import TakeStep, compiled_step
from flowlab.training.step import Recipe, StackedStep, State, new_state, rates_of_steps


class Stack:
    """The training of some flows together, without a run directory."""

    def __init__(self, jobs: int, batch_size: int, device: str, eager: bool) -> None:
        experiments = [build(flowlab.compose(f"batch_size={batch_size}", f"seed={seed}")) for seed in range(jobs)]
        first, flows = experiments[0], [experiment.flow.to(device) for experiment in experiments]
        objective, target = first.objective, first.target
        assert isinstance(target, ExactTarget)
        target.to_(device)
        batches = [
            build_batches(objective, flow, target, seed, batch_size, first.dtype, device)
            for seed, flow in enumerate(flows)
        ]
        self.draws = [each.draw for each in batches]
        self.optimizers = [experiment.optimizer for experiment in experiments]
        self.max_steps = first.config.max_steps
        recipe = Recipe(lambda flow, batch: objective(flow, batch, target), first.optimizer, batches[0].from_draws)
        step = StackedStep(flows, recipe)
        self.state: State = new_state(flows, first.optimizer)
        self.take: TakeStep = step if eager else compiled_step(step)

    def rates(self, start: int, stop: int) -> list[tuple[int, Tensor]]:
        """The optimizer rates of some steps."""
        return list(rates_of_steps(self.optimizers, range(start, stop), self.max_steps, self.state.numbers))

    def drawn(self, step: int) -> Batch:
        """The random numbers behind the minibatches of a step."""
        return Batch(torch.stack([draw(step).x for draw in self.draws]))

    def prepare(self) -> None:
        """Compile the step and capture its graph."""
        self.take(self.state, self.drawn(0), self.rates(0, 1)[0][1])

    def train(self, start: int, stop: int) -> float:
        """Seconds until the device has taken some steps; between steps it does not wait for the host."""
        on_gpu, losses = self.state.numbers.is_cuda, self.state.grad_norms
        begun = time.perf_counter()
        rates = self.rates(start, stop)
        if on_gpu:
            torch.cuda.set_sync_debug_mode("error")
        for step, rates_of_step in rates:
            self.state, losses = self.take(self.state, self.drawn(step), rates_of_step)
        if on_gpu:
            torch.cuda.set_sync_debug_mode("default")
            torch.cuda.synchronize()
        seconds = time.perf_counter() - begun
        if not losses.isfinite().all():
            sys.exit(f"gpu.py: a loss is not finite after {stop} steps")
        return seconds


def measure(jobs: int, batch_size: int, options: argparse.Namespace) -> dict[str, float]:
    stack = Stack(jobs, batch_size, options.device, options.eager)
    steps = options.steps
    stack.prepare()
    taken = pandas.Series([stack.train(turn * steps, (turn + 1) * steps) for turn in range(options.repeat)])
    per_step = taken / steps
    return {
        "jobs": jobs,
        "batch_size": batch_size,
        "median_us": 1e6 * per_step.median(),
        "least_us": 1e6 * per_step.min(),
        "greatest_us": 1e6 * per_step.max(),
        "steps_per_second": 1 / per_step.median(),
        "flow_steps_per_second": jobs / per_step.median(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Steps and flows a second of stacked training on a GPU.")
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[512, 4096, 32768])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--eager", action="store_true", help="the step as it is written, not compiled")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("gpu.py: there is no GPU here; nothing was measured")
        return
    print(torch.cuda.get_device_name() if options.device == "cuda" else "cpu")
    rows = pandas.DataFrame([measure(*sizes, options) for sizes in product(options.jobs, options.batch_sizes)])
    table = Table(box=SIMPLE_HEAD)
    for name in ("flows", "batch", "median microseconds a step", "least", "greatest", "steps/s", "flows x steps/s"):
        table.add_column(name, justify="right")
    for row in rows.itertuples(index=False):
        table.add_row(*(f"{value:.0f}" for value in row))
    Console(width=110).print(table)
    smallest = rows[rows["batch_size"] == min(options.batch_sizes)].set_index("jobs")["flow_steps_per_second"]
    most, least = max(options.jobs), min(options.jobs)
    print(f"ratio: {smallest[most] / smallest[least]:.1f}  flows x steps/s of {most} flows over {least}")


if __name__ == "__main__":
    main()
