"""log q(y) as the training step takes it: the same number, the small linear systems of all layers solved at once."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from flowlab.bijectors import LowRankAffine, stages
from flowlab.flow import Flow, Pull

# Up to here a row times a dense d x d inverse is cheaper than a triangular solve and a low-rank correction.
LARGEST_DIM = 16


def fast_log_prob(flow: Flow, y: Tensor) -> Tensor:
    """What `flow.log_prob(y)` gives, up to rounding, in about two thirds of the time for small flows.

    A chain of small affine maps spends its time starting tiny operations. What they need of their parameters, the
    inverse of each matrix and its log det, is the same for all points: it is computed for all maps of one shape in one
    batched call, from d unit vectors each, and the points are then multiplied by it.
    """
    layers = stages(flow.bijector)
    groups: defaultdict[tuple[object, ...], list[int]] = defaultdict(list)
    for place, layer in enumerate(layers):
        if isinstance(layer, LowRankAffine) and layer.dim <= LARGEST_DIM:
            groups[layer.dim, layer.rank, layer.scale_kind, layer.weights is None].append(place)
    pulls: list[Pull] = [layer.inverse_and_log_det for layer in layers]
    for places in groups.values():
        affines = [layers[place] for place in places]
        for place, pull in zip(places, _solve_together(affines), strict=True):  # type: ignore[arg-type]
            pulls[place] = pull
    return flow.pull_back(y, pulls)


def _solve_together(affines: list[LowRankAffine]) -> list[Pull]:
    """The inverses of affine maps of one shape, each as a function of points."""
    template = affines[0]
    tensors = {
        f"affine.{name}": torch.stack([getattr(affine, name) for affine in affines])
        for name, _ in template.named_parameters()
        if name != "shift"  # of which the inverse matrix knows nothing
    }
    unit_vectors = torch.eye(template.dim, dtype=template.shift.dtype, device=template.shift.device)
    solve = _Solve(template)
    inverses, log_dets = vmap(lambda state: functional_call(solve, state, (unit_vectors,), tie_weights=False))(tensors)
    return [
        _affine_pull(affine.shift, inverse, log_det_of_inverse)
        for affine, inverse, log_det_of_inverse in zip(affines, inverses.mT.unbind(), (-log_dets).unbind(), strict=True)
    ]


def _affine_pull(shift: Tensor, inverse: Tensor, log_det: Tensor) -> Pull:
    """The inverse of an affine map, given that of its matrix; points stand in columns, which is faster for few rows."""

    def pull(y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (inverse @ (y - shift).mT).mT, log_det

    return pull


class _Solve(nn.Module):
    """`LowRankAffine.solve` as a forward, which is what `functional_call` calls."""

    def __init__(self, affine: LowRankAffine) -> None:
        super().__init__()
        self.affine = affine

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return self.affine.solve(rows)
