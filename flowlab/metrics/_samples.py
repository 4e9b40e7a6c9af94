"""Score a flow on points of its own, where its target has a density alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from flowlab.metrics.evaluation import Evaluation, chunks, gather
from flowlab.targets.base import Batch

if TYPE_CHECKING:
    from flowlab.distributed.world import World
    from flowlab.flow import Flow
    from flowlab.targets.base import ExactTarget


def evaluate_samples(
    flow: Flow, target: ExactTarget, count: int, generator: torch.Generator, world: World | None = None
) -> Evaluation:
    """Score a flow on `count` points of its own against a density that need not be normalized; see evaluate."""
    base = Batch(flow.rsample_base((count,), generator=generator))
    points, log_q, log_p, errors, columns = ([] for _ in range(5))
    with torch.no_grad():
        for x, _ in chunks(world.shard(base) if world else base):
            y, log_prob = flow.push_forward(x)
            moved = (flow.bijector.forward(flow.inverse_and_log_prob(y)[0]) - y).abs().reshape(len(y), -1)
            points.append(y)
            log_q.append(log_prob)
            log_p.append(target.unnormalized_log_prob(y))
            errors.append(moved.amax(-1))
            columns.append(moved.amax(0))
    known_q, known_p, moved = (gather(parts, count, world) for parts in (log_q, log_p, errors))
    farthest, batch = torch.stack(columns).amax(0), Batch(torch.cat(points))
    return Evaluation(flow, batch, target, known_q.double(), known_p.double(), moved, farthest, of_samples=True)
