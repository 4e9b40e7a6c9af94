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
    """

    def __init__(self, step: Callable[..., tuple[State, Tensor]]) -> None:
        self.step = step
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(
        self, state: State, constants: dict[str, Tensor], drawn: Tensor, rates: Tensor, root: Tensor
    ) -> tuple[State, Tensor]:
        if self.graph is None:
            self._capture(state, constants, drawn, rates, root)
        assert self.graph is not None
        for held, given in zip((*self.state, *self.inputs), (*state, drawn, rates, root), strict=True):
            if held is not given:
                held.copy_(given)
        for name, held in self.constants.items():
            if held is not constants[name]:
                held.copy_(constants[name])
        self.graph.replay()
        return self.state, self.losses.clone()

    def _capture(self, state: State, constants: dict[str, Tensor], *inputs: Tensor) -> None:
        self.state = State(*(tensor.clone() for tensor in state))
        self.constants = {name: tensor.clone() for name, tensor in constants.items()}
        self.inputs = tuple(tensor.clone() for tensor in inputs)
        apart = torch.cuda.Stream()
        apart.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(apart):
            for _ in range(WARM_UP):
                self.step(self.state, self.constants, *self.inputs)
        torch.cuda.current_stream().wait_stream(apart)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            after, self.losses = self.step(self.state, self.constants, *self.inputs)
            for held, new in zip(self.state, after, strict=True):
                held.copy_(new)
