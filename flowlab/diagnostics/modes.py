"""Mode coverage: the mass of the flow near each centre, next to the target's mass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

MISSING = 0.1  # share of the target's mass: a mode with less of the flow's is missing


@dataclass(frozen=True)
class ModeCoverage:
    """Mass per mode; a point belongs to the nearest centre.

    Attributes:
        flow: the fraction of the flow's draws at each mode.
        target: the fraction of the target's mass at each, from its samples; without samples, from weighted draws, which
            say nothing about a mode without draws.
    """

    flow: tuple[float, ...]
    target: tuple[float, ...]

    @property
    def missing(self) -> tuple[int, ...]:
        """The modes, counted from 1, that have no draws, or less than a tenth of the target's mass."""
        pairs = enumerate(zip(self.flow, self.target, strict=True), start=1)
        return tuple(number for number, (flow, target) in pairs if flow == 0 or flow < MISSING * target)

    @property
    def covered(self) -> float:
        """The fraction of the modes that are not missing."""
        return 1 - len(self.missing) / len(self.flow)


def nearest(points: Tensor, centres: Tensor) -> Tensor:
    """The place of the nearest of k centres for each point, of shape (n,).

    Arguments:
        points: of shape (n, d).
        centres: of shape (k, d).

    Example:
        >>> import torch
        >>> from flowlab.diagnostics.modes import nearest
        >>> nearest(torch.tensor([[0.4], [0.6]]), torch.tensor([[0.0], [1.0]]))
        tensor([0, 1])
    """
    import torch

    return torch.cdist(points.cpu().double(), centres.cpu().double()).argmin(-1)


def shares(places: Tensor, count: int, weights: Tensor | None = None) -> tuple[float, ...]:
    """The fraction of points, or of their weights, at each of `count` modes."""
    import torch

    totals = torch.bincount(places, weights, count).double()
    return tuple((totals / totals.sum()).tolist())
