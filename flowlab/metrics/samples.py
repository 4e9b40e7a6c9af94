"""Score a flow on a split of its target: on points, or on points of the flow where the target has a density alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flowlab.metrics.evaluation import Evaluation, chunks, evaluate, gather
from flowlab.targets.base import Batch

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from flowlab.distributed.world import World
    from flowlab.flow import Flow
    from flowlab.targets.base import ExactTarget, Target


def scorer(
    target: Target, split: str, count: int, seed: int, like: Tensor, sampled_in: torch.dtype | None = None
) -> Callable[..., Evaluation]:
    """A function of a flow, and of the ranks if there are several, that scores it on a split of its target.

    A target without points has splits too: of samples of the flow, made from the same noise in every call.

    Arguments:
        target: the target.
        split: "validation" or "test".
        count: the number of points, unless the target has a finite set of them.
        seed: the run's seed.
        like: a tensor with the dtype and the device of the flow.
        sampled_in: the dtype in which points are drawn, before they are rounded; None is the dtype of `like`.
    """
    if target.has_points:
        held_out = target.batch(split, count, seed, sampled_in or like.dtype).to(like.device, like.dtype)
        weights = target.row_weights(split)
        return lambda flow, world=None: evaluate(flow, held_out, target, world, weights)

    def score(flow: Flow, world: World | None = None) -> Evaluation:
        from flowlab.seeding import generator

        draws = generator(seed, f"{split} samples", device=like.device)
        return evaluate_samples(flow, target, count, draws, world)  # type: ignore[arg-type]

    return score


def evaluate_samples(
    flow: Flow, target: ExactTarget, count: int, generator: torch.Generator, world: World | None = None
) -> Evaluation:
    """Score a flow on `count` points of its own against a density that need not be normalized; see evaluate."""
    import torch

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
