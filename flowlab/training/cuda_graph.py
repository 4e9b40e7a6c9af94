"""A step on a GPU as one CUDA graph: the processor hands over the draws of a minibatch, and waits for nothing."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from flowlab.training.state import State

WARM_UP = 3  # calls before the capture, in which compilers and libraries allocate what they keep


class Replayed:
    """A step that is captured when it is first called and replayed from then on.

    Every replay reads and writes the same memory: the state that it gives is the one that the next call takes, and is
    overwritten by it, while the losses are a copy.

    Arguments:
        step: of tensors on a GPU, without host synchronisation.

    Written by the book: no machine with a GPU has been at hand to try it on.
    """

    def __init__(self, step: Callable[..., tuple[State, Tensor]]) -> None:
        self.step = step
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, state: State, drawn: Tensor, rates: Tensor, root: Tensor) -> tuple[State, Tensor]:
        given = (*state, drawn, rates, root)
        if self.graph is None:
            self._capture(given)
        assert self.graph is not None
        for held, new in zip(self.held, given, strict=True):
            if held is not new:
                held.copy_(new)
        self.graph.replay()
        return State(*self.held[:-3]), self.losses.clone()

    def _capture(self, given: tuple[Tensor, ...]) -> None:
        self.held = tuple(tensor.clone() for tensor in given)
        state, inputs = State(*self.held[:-3]), self.held[-3:]
        apart = torch.cuda.Stream()
        apart.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(apart):
            for _ in range(WARM_UP):
                self.step(state, *inputs)
        torch.cuda.current_stream().wait_stream(apart)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            after, self.losses = self.step(state, *inputs)
            for held, new in zip(state, after, strict=True):
                held.copy_(new)
