"""Microseconds a training step: the whole of `flowlab.train`, over a bare loop or over TFP on JAX.

    python experiments/benchmarks/training_speed.py [--steps 1000] [--repeat 21]
    python experiments/benchmarks/training_speed.py --peer tfp-jax [--steps 10000] [--repeat 21]

One run of `flowlab.train` pauses after every `--steps` steps, and every other side takes as many steps. So a busy
machine disturbs all equally. A turn of the run includes all recurring work: a row of metrics every 100 steps, a
validation every 200 and a checkpoint every 1000, all at their defaults. Imports, compilation, the test and the figures
happen once, before the first turn that counts or after the last. The last lines are `ratio: R`: the median time of
flowlab over the median time of another side.

Without a peer the run is the default one, `experiment=banana`, not compiled. The other side is a loop over the same
flow, minibatches, objective and learning rates with torch's fused Adam; both end at the same weights up to rounding.
The table splits the time of the run into parts.

With `--peer tfp-jax` the run is `experiment=jang2018`, compiled. The other sides train the same flow from the same
initialization by peer_tfp_jax.py, each in its own process and inside one `lax.scan`: JAX with its default threads, one
for each core, and JAX on one core, which is faster here. First the script checks that all sides give the same loss for
the same points. The initialization is near the identity: from Jang's initialization the first losses are too large to
compare. It needs the packages of `make bench`.

Torch has one thread. float32, 512 points a minibatch.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import pandas
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import flowlab
from flowlab import Flow
from flowlab.bijectors import LowRankAffine, PReLU, stages
from flowlab.config.schema import Config
from flowlab.runs.directory import begin
from flowlab.runs.record import Checkpoints, Record
from flowlab.system.display import RunProgress
from flowlab.training.build import Batches, Experiment, build, build_batches
from flowlab.training.train import run_training

EAGER = ["experiment=banana", "trainer.compile=false"]
COMPILED = ["experiment=jang2018", "flow.initialization=near_identity", "trainer.compile=true"]
STEPS = {"bare": 1000, "tfp-jax": 10_000}  # of a turn; both sides take seconds
SAME_LOSS = 1e-4  # relative, in float32

Turn = Callable[[int], float]  # takes a number of steps; returns the seconds


class Turns(RunProgress):
    """Shows the progress of a run, and lets the other sides train after every so many steps.

    Arguments:
        others: train the other sides, by name.
        steps: the length of a turn.

    Attributes:
        seconds: the time of each turn by side, and the time of flowlab's parts.
    """

    def __init__(self, others: dict[str, Turn], steps: int) -> None:
        super().__init__("lines")
        self.others, self.steps = others, steps
        self.seconds: list[dict[str, float]] = []
        self.parts = {"rows": 0.0, "checkpoints": 0.0}
        self._steps_before = 0.0

    def start(self, step: int, max_steps: int) -> None:
        super().start(step, max_steps)
        self._begun = time.perf_counter()

    def update(self, step: int, record: Record) -> None:
        super().update(step, record)
        if step % self.steps == 0:
            flowlab = time.perf_counter() - self._begun
            parts = {"steps": record.seconds - self._steps_before, **self.parts}
            others = {name: train(self.steps) for name, train in self.others.items()}
            self.seconds.append({"flowlab": flowlab, **parts, **others})
            self.parts.update(dict.fromkeys(self.parts, 0.0))
            self._steps_before, self._begun = record.seconds, time.perf_counter()


@contextlib.contextmanager
def timed(parts: dict[str, float], part: str, owner: type, name: str) -> Iterator[None]:
    """Add the seconds that a method takes to a part."""
    method = getattr(owner, name)

    def call(*arguments: Any) -> Any:
        begun = time.perf_counter()
        try:
            return method(*arguments)
        finally:
            parts[part] += time.perf_counter() - begun

    setattr(owner, name, call)
    try:
        yield
    finally:
        setattr(owner, name, method)


def batches_of(experiment: Experiment) -> Batches:
    """The minibatches of an experiment on the CPU."""
    config, flow, target = experiment.config, experiment.flow, experiment.target
    seed, size, dtype = config.seed, config.batch_size, experiment.dtype
    return build_batches(experiment.objective, flow, target, seed, size, dtype, "cpu")


class BareLoop:
    """The computation of a run in the fewest lines of torch."""

    def __init__(self, config: Config) -> None:
        experiment = build(config)
        self.flow, self.objective, self.target = experiment.flow, experiment.objective, experiment.target
        self.settings, self.max_steps = config.optimizer, config.max_steps
        self.batches, self.step = batches_of(experiment), count()
        betas, eps = tuple(self.settings.betas), self.settings.eps
        self.optimizer = torch.optim.Adam(self.flow.parameters(), betas=betas, eps=eps, fused=True)

    def train(self, steps: int) -> float:
        begun = time.perf_counter()
        for step in islice(self.step, steps):
            self.optimizer.param_groups[0]["lr"] = self.settings.learning_rate(step, self.max_steps)
            loss = self.objective(self.flow, self.batches(step), self.target)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return time.perf_counter() - begun


class TfpOnJax:
    """Jang's flow by TFP on JAX, from the initialization of a configuration.

    Raises:
        SystemExit: it does not give the loss that flowlab gives.
    """

    def __init__(self, config: Config, program: subprocess.Popen[str]) -> None:
        self.program, experiment = program, build(config)
        batch = batches_of(experiment)(0)
        ours = experiment.objective(experiment.flow, batch, experiment.target).item()
        theirs = self._answer(parameters=parameters_of(experiment.flow), points=batch.x.tolist())["loss"]
        if not abs(theirs - ours) <= SAME_LOSS * abs(ours):
            sys.exit(f"TFP on JAX is at a loss of {theirs} where flowlab is at {ours}: these are not the same flow")

    def train(self, steps: int) -> float:
        return self._answer(steps=steps)["seconds"]

    def _answer(self, **asked: Any) -> dict[str, float]:
        assert self.program.stdin
        assert self.program.stdout
        print(json.dumps(asked), file=self.program.stdin, flush=True)
        line = self.program.stdout.readline()
        if not line:
            sys.exit(f"TFP on JAX: exit status {self.program.wait()}")
        return json.loads(line)


def parameters_of(flow: Flow) -> list[dict[str, Any]]:
    """The parameters of Jang's flow as plain data, layer by layer: an affine map, and the PReLU after it."""
    layers: list[dict[str, Any]] = []
    for stage in stages(flow.bijector):
        if isinstance(stage, LowRankAffine):
            assert stage.factor is not None
            tensors = {"scale": stage.scale, "factor": stage.factor, "shift": stage.shift}
            layers.append({name: tensor.tolist() for name, tensor in tensors.items()})
        else:
            assert isinstance(stage, PReLU)
            layers[-1]["slope"] = stage.raw_slope.item()
    return layers


@contextlib.contextmanager
def tfp_on_jax(config: Config, *options: str) -> Iterator[TfpOnJax]:
    """The peer in a separate process, so the threads of JAX and of torch do not interfere."""
    command = [sys.executable, str(Path(__file__).with_name("peer_tfp_jax.py")), "turns", *options]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as program:
        yield TfpOnJax(config, program)


def measure(config: Config, others: dict[str, Turn], steps: int) -> tuple[pandas.DataFrame, Flow]:
    """Microseconds per step of every turn but the first, a row each; and the flow at the end."""
    turns, experiment = Turns(others, steps), build(config)
    with (
        tempfile.TemporaryDirectory() as directory,
        timed(turns.parts, "rows", Record, "write"),
        timed(turns.parts, "checkpoints", Checkpoints, "step"),
    ):
        run = begin(config, experiment.target, Path(directory) / "run", group=None)
        run_training(run, experiment, progress=turns)
        return 1e6 / steps * pandas.DataFrame(turns.seconds[1:]), run.load_flow("last")


def report(times: pandas.DataFrame, title: str, names: dict[str, str]) -> None:
    """Print the medians."""
    times = times.assign(rest=times["flowlab"] - times[["steps", "rows", "checkpoints"]].sum(axis=1))
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
    for name in ("", "median us a step", "least", "greatest"):
        table.add_column(name, justify="right" if name else "left")
    for column, name in names.items():
        taken = times[column]
        table.add_row(name, *(f"{number:.1f}" for number in (taken.median(), taken.min(), taken.max())))
    Console(width=100).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description="Microseconds a training step, against another side.")
    parser.add_argument("--peer", choices=["tfp-jax"], help="default: a bare loop over the same arithmetic")
    parser.add_argument("--steps", type=int, help="of a turn; default: 1000, or 10000 with a peer")
    parser.add_argument("--repeat", type=int, default=21, help="turns of each side, after one that is not counted")
    options = parser.parse_args()
    steps = options.steps or STEPS[options.peer or "bare"]
    words = [*(COMPILED if options.peer else EAGER), f"max_steps={steps * (options.repeat + 1)}"]
    config = flowlab.compose(*words)
    torch.set_num_threads(1)  # as the run does
    parts = {
        "steps": "  of it, the steps",
        "rows": "  rows of metrics and validations",
        "checkpoints": "  checkpoints",
        "rest": "  the rest",
    }
    others: dict[str, Turn]
    if options.peer:
        with tfp_on_jax(config) as peer, tfp_on_jax(config, "--one-core") as on_one_core:
            others = {"TFP on JAX, one lax.scan": peer.train, "TFP on JAX kept to one core": on_one_core.train}
            times, _ = measure(config, others, steps)
        ours = "flowlab, compiled"
    else:
        bare = BareLoop(config)
        others = {"bare torch loop": bare.train}
        times, flow = measure(config, others, steps)
        ours = "flowlab, eager"
        weights = zip(flow.state_dict().values(), bare.flow.state_dict().values(), strict=True)
        apart = max(float((a - b).abs().max()) for a, b in weights)
        print(f"largest difference between the weights of both sides at the end: {apart:.2g}")
    report(
        times, f"{options.repeat} turns of {steps} steps", {"flowlab": ours, **parts, **{name: name for name in others}}
    )
    for name in others:
        print(f"ratio: {times['flowlab'].median() / times[name].median():.3f}  {ours} over {name}")


if __name__ == "__main__":
    main()
