"""Seconds to sample a trained masked autoregressive flow: fixed point iteration, d passes, zuko and nflows.

    python experiments/benchmarks/modern_sampling.py [--dim 20 50] [--points 10000] [--steps 500] [--repeat 5]

Eight affine layers, networks with one hidden layer of 50. Every side is trained on the same data, a curved and
correlated normal, with the same number of steps. Its samples then take turns with the others. flowlab stops as soon as
no point changes; the side "d passes" takes the same flow's d passes for each layer, as zuko and nflows do. The table
also shows the largest difference between the samples of both ways from the same noise. The last lines are `ratio: R`,
the median time of another side over flowlab's. Torch has one thread. It needs the packages of `make bench`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable

import torch
from modern_peers import PEERS, log_prob
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import flowlab
from flowlab import Flow
from flowlab.bijectors import MaskedAutoregressive, stages

BATCH, ROWS = 512, 20_000


def curved(dim: int) -> Tensor:
    """Points whose coordinates depend on the ones before them, standardized."""
    noise = torch.randn(ROWS, dim, generator=torch.Generator().manual_seed(0))
    columns = [noise[:, 0]]
    for place in range(1, dim):
        columns.append(noise[:, place] * (0.3 + columns[-1].sigmoid()) + 0.7 * columns[-1].tanh())
    points = torch.stack(columns, -1)
    return (points - points.mean(0)) / points.std(0)


def train(flow: nn.Module, points: Tensor, steps: int) -> nn.Module:
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3)
    for _ in range(steps):
        loss = -log_prob(flow, points[torch.randint(len(points), (BATCH,))]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return flow


@torch.no_grad()
def sample_by_passes(flow: Flow, x: Tensor) -> Tensor:
    """The images of x, each layer by d passes of its network."""
    for layer in stages(flow.bijector):
        assert isinstance(layer, MaskedAutoregressive)
        weights, y = layer.conditioner.masked_weights(), torch.zeros_like(x)
        for _ in range(x.shape[-1]):
            y = layer.map.forward_and_log_det(x, layer.conditioner.run(weights, y, None))[0]
        x = y
    return x


def measure(dim: int, count: int, steps: int, repeat: int) -> tuple[dict[str, float], float]:
    """The median seconds of every side, and the largest difference between both ways of flowlab."""
    points = curved(dim)
    flow = flowlab.compose("flow=maf", "flow.hidden=[50]", "flow.depth=8").flow.build((dim,))
    train(flow, points, steps)
    zuko, nflows = (train(PEERS[name]("autoregressive", "affine", dim), points, steps) for name in ("zuko", "nflows"))
    sides: dict[str, Callable[[], Tensor]] = {
        "flowlab": lambda: flow.sample((count,)),
        "flowlab, d passes": lambda: sample_by_passes(flow, torch.randn(count, dim)),
        "zuko": lambda: zuko().sample((count,)),
        "nflows": lambda: nflows.sample(count),  # type: ignore[operator]
    }
    taken = defaultdict[str, list[float]](list)
    with torch.no_grad():
        for _ in range(repeat):
            for name, sample in sides.items():
                begun = time.perf_counter()
                sample()
                taken[name].append(time.perf_counter() - begun)
        x = torch.randn(1000, dim)
        apart = float((flow.bijector(x) - sample_by_passes(flow, x)).abs().max())
    return {name: statistics.median(times) for name, times in taken.items()}, apart


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds to sample a masked autoregressive flow.")
    parser.add_argument("--dim", nargs="+", type=int, default=[20, 50])
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=500, help="of training")
    parser.add_argument("--repeat", type=int, default=5, help="turns of each side")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    measured = {dim: measure(dim, options.points, options.steps, options.repeat) for dim in options.dim}
    table = Table(box=SIMPLE_HEAD, title=f"median seconds for {options.points:,} samples", title_justify="left")
    for name in ("d", *measured[options.dim[0]][0], "largest difference"):
        table.add_column(name, justify="right")
    for dim, (times, apart) in measured.items():
        table.add_row(str(dim), *(f"{time:.3f}" for time in times.values()), f"{apart:.1e}")
    Console(width=100).print(table)
    for dim, (times, _) in measured.items():
        ours = times.pop("flowlab")
        for name, time_taken in times.items():
            what = "d passes over the fixed point" if name.startswith("flowlab") else f"{name} over flowlab"
            print(f"ratio: {time_taken / ours:.2f}  {what}, d = {dim}")


if __name__ == "__main__":
    main()
