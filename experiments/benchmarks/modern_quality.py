"""How well coupling spline flows of flowlab, zuko and flowjax learn targets of two dimensions: KL divergence in nats.

    python experiments/benchmarks/modern_quality.py [--target banana ...] [--seeds 5] [--steps 3000]

Every side has eight coupling layers, one hidden layer of 50 and splines of 8 bins on the box [-5, 5], and takes the
same number of steps of Adam with 512 fresh points each. The learning rate falls from 0.003 to 0 by half a cosine. The
coordinates of a target are in units of their standard deviations, or larger ones if points lay outside of the box: a
spline moves no point into it, and the base has almost no probability there. No side learns its base. flowlab trains
through `flowlab.fit`. The funnel is left out: in a box that holds it, its neck is too narrow for 8 bins.

The KL divergence is the mean of log p - log q over 100 000 held-out points, the same for all sides and seeds. The table
has the median over the seeds, the least, the greatest, and the standard error of the mean. The last lines are
`ratio: R`: how many standard errors of the difference flowlab's median is above the better peer's, for each target; and
flowlab's median on the banana. It needs the packages of `make bench`.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
import peer_flowjax
import torch
from modern_peers import BOUND, PEERS, log_prob
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor

import flowlab
from flowlab.config.registry import lookup
from flowlab.seeding import generator
from flowlab.targets import ExactTarget

BATCH, HELD_OUT, LR = 512, 100_000, 3e-3
TARGETS = ("banana", "uniform", "two_moons", "eight_gaussians", "checkerboard")
CELL = ("coupling", "spline", 2)
LogProb = Callable[[Tensor], Tensor]
Train = Callable[[ExactTarget, int, int], LogProb]  # for a target, a number of steps and a seed


class Scaled(ExactTarget):
    """A target around its mean, scaled to a standard deviation of 1, or less if points lay outside of the box."""

    def __init__(self, target: ExactTarget) -> None:
        super().__init__()
        points = target.sample(10 * HELD_OUT, generator(0, "scale"))
        self.target, self.mean = target, points.mean(0)
        self.spread = torch.maximum(points.std(0), (points - self.mean).abs().amax(0) / BOUND)
        self.bounds, self.entropy = ((-BOUND, BOUND),) * 2, None

    def draw(self, count: int, generator: torch.Generator, dtype: torch.dtype | None) -> Tensor:
        return self.target.draw(count, generator, dtype)

    def from_draws(self, drawn: Tensor) -> Tensor:
        return (self.target.from_draws(drawn) - self.mean) / self.spread

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.target.log_prob(self.mean + self.spread * x) + self.spread.log().sum()


def batches(target: ExactTarget, steps: int, seed: int) -> Tensor:
    """Fresh points of shape (steps, batch, 2)."""
    return target.sample(steps * BATCH, generator(seed, "train data")).unflatten(0, (steps, BATCH))


def train_flowlab(target: ExactTarget, steps: int, seed: int) -> LogProb:
    words = ("flow=coupling", "flow.hidden=[50]", "flow.depth=8")
    flow = flowlab.compose(*words).flow.build((2,), generator=generator(seed, "parameters"))
    optimizer = lookup("optimizer", "adam")(lr=LR)
    flowlab.fit(
        flow, target, steps=steps, batch_size=BATCH, optimizer=optimizer, validation=None, seed=seed, progress="off"
    )
    return flow.log_prob


def train_zuko(target: ExactTarget, steps: int, seed: int) -> LogProb:
    torch.manual_seed(seed)
    flow = PEERS["zuko"](*CELL)
    optimizer = torch.optim.Adam(flow.parameters(), lr=LR)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for points in batches(target, steps, seed):
        loss = -log_prob(flow, points).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return lambda points: log_prob(flow, points)


def train_flowjax(target: ExactTarget, steps: int, seed: int) -> LogProb:
    state, static = peer_flowjax.build(*CELL, seed)
    optimizer = optax.adam(optax.cosine_decay_schedule(LR, steps))
    step = peer_flowjax.make_step(static, optimizer)
    points = jnp.asarray(batches(target, steps, seed).numpy())
    (trained, _), _ = jax.jit(lambda state, points: jax.lax.scan(step, state, points))(
        (state, optimizer.init(state)), points
    )
    density = jax.jit(lambda points: peer_flowjax.log_prob(trained, static, points))
    return lambda points: torch.from_numpy(np.array(density(jnp.asarray(points.numpy()))))


SIDES: dict[str, Train] = {"flowlab": train_flowlab, "zuko": train_zuko, "flowjax": train_flowjax}


def divergence(target: ExactTarget, log_prob: LogProb) -> float:
    """The KL divergence of a flow from a target, on held-out points."""
    points = target.sample(HELD_OUT, generator(0, "test data"))
    with torch.no_grad():
        found = torch.cat([log_prob(part) for part in points.split(10_000)])
    return float((target.log_prob(points).double() - found.double()).mean())


def standard_error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values))


def main() -> None:
    parser = argparse.ArgumentParser(description="KL divergence of coupling spline flows after equal training.")
    parser.add_argument("--target", nargs="+", default=TARGETS)
    parser.add_argument("--seeds", type=int, default=5, help="at least 2")
    parser.add_argument("--steps", type=int, default=2500)
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = Table(box=SIMPLE_HEAD, title="KL divergence in nats", title_justify="left")
    for name in ("target", "", "median", "least", "greatest", "standard error", "seconds a run"):
        table.add_column(name, justify="left" if name in ("target", "") else "right")
    above, medians = {}, {}
    for name in options.target:
        target, found, seconds = Scaled(lookup("target", name)()), defaultdict(list), defaultdict(list)
        for seed, side in itertools.product(range(options.seeds), SIDES):
            begun = time.perf_counter()
            found[side].append(divergence(target, SIDES[side](target, options.steps, seed)))
            seconds[side].append(time.perf_counter() - begun)
            print(f"{name} {side} seed {seed}: {found[side][-1]:.5f}", file=sys.stderr, flush=True)
        for side, values in found.items():
            numbers = statistics.median(values), min(values), max(values), standard_error(values)
            table.add_row(
                name, side, *(f"{number:.4f}" for number in numbers), f"{statistics.median(seconds[side]):.0f}"
            )
        best = min((side for side in SIDES if side != "flowlab"), key=lambda side: statistics.median(found[side]))
        error = math.hypot(standard_error(found["flowlab"]), standard_error(found[best]))
        medians[name] = statistics.median(found["flowlab"])
        above[name] = (medians[name] - statistics.median(found[best])) / error
    Console(width=100).print(table)
    for name, count in above.items():
        print(f"ratio: {count:.2f}  standard errors of flowlab above the better peer, {name}")
    for name in {"banana"} & set(medians):
        print(f"ratio: {medians[name]:.4f}  median KL of flowlab, {name}")


if __name__ == "__main__":
    main()
