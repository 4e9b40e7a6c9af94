"""The sides of `low_rank_scaling.py`: their tasks, times and memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import torch
from torch import Tensor

from flowlab.bijectors import LowRankAffine
from flowlab.seeding import generator
from flowlab.system.process import set_threads

VECTORS, RANK, SEED = 64, 8, 0
SIDES, TASKS = ("dense", "tril", "diag"), ("inverse", "forward", "gradient")
PEAK_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes in the unit of ru_maxrss

Answer = Callable[[], tuple[Tensor, Tensor]]
Work = Callable[[], object]


def works(side: str, dim: int) -> dict[str, Work]:
    """The tasks by name, with a map away from the identity, yet well conditioned."""
    start = generator(SEED, f"benchmark {side}", dim)
    points = torch.randn(VECTORS, dim, generator=start).requires_grad_()
    if side == "dense":
        matrix = torch.eye(dim).requires_grad_()
        disturb(matrix, dim, start)
        return dense(matrix, points)
    affine = LowRankAffine(dim, RANK, side, factor_scale=dim**-0.5, generator=start)
    disturb(affine.scale, dim, start)
    inverse = partial(affine.inverse_and_log_det, points)
    return {
        "inverse": inverse,
        "forward": partial(affine.forward_and_log_det, points),
        "gradient": gradient(inverse, [*affine.parameters(), points]),
    }


def disturb(scale: Tensor, dim: int, start: torch.Generator) -> None:
    """Initialize in parts: a second tensor of this size would count as memory of the side."""
    with torch.no_grad():
        for part in scale.view(-1).split(2**20):
            part.add_(torch.randn(part.shape, generator=start), alpha=0.2 * dim**-0.5)


def dense(matrix: Tensor, points: Tensor) -> dict[str, Work]:
    """One LU factorization serves the log det and the vectors, which are rows."""

    def log_det(lu: Tensor) -> Tensor:
        return lu.diagonal().abs().log().sum()

    def forward() -> tuple[Tensor, Tensor]:
        return points @ matrix.mT, log_det(torch.linalg.lu_factor_ex(matrix)[0])

    def inverse() -> tuple[Tensor, Tensor]:
        lu, pivots, _ = torch.linalg.lu_factor_ex(matrix)
        return torch.linalg.lu_solve(lu, pivots, points.mT).mT, -log_det(lu)

    def inverse_to_differentiate() -> tuple[Tensor, Tensor]:
        # Two factorizations: the backward pass through a shared one takes three times as long as all of this.
        return torch.linalg.solve(matrix, points.mT).mT, -torch.linalg.slogdet(matrix)[1]

    return {
        "inverse": inverse,
        "forward": forward,
        "gradient": gradient(inverse_to_differentiate, [matrix, points]),
    }


def gradient(inverse: Answer, leaves: list[Tensor]) -> Work:
    """Pre-images and log det, and the gradients of a function of both in every input and parameter."""

    def work() -> None:
        with torch.enable_grad():
            x, log_det = inverse()
            (x.square().sum() + log_det.sum()).backward()
        for leaf in leaves:
            leaf.grad = None

    return work


def seconds_of(work: Work, calls: int = 1) -> float:
    begun = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - begun) / calls


def peak_megabytes(side: str, dim: int) -> dict[str, float]:
    """Peak memory of a separate process: map, points and tasks, without and with gradients.

    The peak of the same work at d = 64, which loads the libraries, is subtracted.
    """
    # The peak of a child starts at the memory of its parent: measure before anything large is allocated.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as child:
        return child.submit(_peak_megabytes, side, dim).result()


def _peak_megabytes(side: str, dim: int) -> dict[str, float]:
    with set_threads(1), torch.no_grad():
        for work in works(side, 64).values():
            work()
        before, tasks = _resident(), works(side, dim)
        tasks["inverse"]()
        tasks["forward"]()
        answers = _resident() - before
        tasks["gradient"]()
        return {"answers": answers, "gradient": _resident() - before}


def _resident() -> float:
    """The peak memory of this process so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT / 1e6
