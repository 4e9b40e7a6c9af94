"""Where training stands, as rows of numbers: what a step takes and gives, and how a flow and its Adam become a row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from flowlab.flow import Flow


class State(NamedTuple):
    """Where the training of some jobs stands, a row for each.

    Attributes:
        numbers: the trained parameters of a flow one after another, of shape (jobs, n).
        first, second: Adam's moments, of the same shape.
        steps: how many each has taken, of shape (jobs,), as are the next two; a job that has failed takes no more.
        alive: whether all that a job has computed was finite.
        grad_norms: of the last step, after clipping.
    """

    numbers: Tensor
    first: Tensor
    second: Tensor
    steps: Tensor
    alive: Tensor
    grad_norms: Tensor


def read_state(flows: Sequence[Flow], optimizers: Sequence[torch.optim.Optimizer], steps: int) -> State:
    """The state of flows and their optimizers after so many steps."""
    numbers = torch.stack([in_a_row(trained(flow)) for flow in flows])
    first, second = (
        torch.stack([_moment(flow, optimizer, name) for flow, optimizer in zip(flows, optimizers, strict=True)])
        for name in ("exp_avg", "exp_avg_sq")
    )
    alive = torch.ones(len(flows), dtype=torch.bool, device=numbers.device)
    return State(numbers, first, second, alive * steps, alive, numbers.new_zeros(len(flows)))


@torch.no_grad()
def write_state(state: State, place: int, flow: Flow, optimizer: torch.optim.Optimizer | None = None) -> None:
    """Bring a flow, and its optimizer if it is given, to a row of the state."""
    parameters = trained(flow)
    rows = [_parts(row[place], parameters) for row in (state.numbers, state.first, state.second)]
    for parameter, numbers, first, second in zip(parameters, *rows, strict=True):
        parameter.copy_(numbers)
        if optimizer is not None:
            moments = {"exp_avg": first.clone(), "exp_avg_sq": second.clone()}
            optimizer.state[parameter] = {"step": state.steps[place].to(torch.float32), **moments}


def trained(flow: Flow) -> list[nn.Parameter]:
    """The parameters that training changes; frozen ones stay as they are."""
    return [parameter for parameter in flow.parameters() if parameter.requires_grad]


def in_a_row(values: Iterable[Tensor]) -> Tensor:
    """Tensors of any shapes as one of shape (n,)."""
    return torch.cat([value.detach().flatten() for value in values])


def _moment(flow: Flow, optimizer: torch.optim.Optimizer, name: str) -> Tensor:
    """One of Adam's moments in a row; before the first step it is 0."""
    return in_a_row(optimizer.state[p][name] if p in optimizer.state else torch.zeros_like(p) for p in trained(flow))


def _parts(row: Tensor, shapes: Sequence[Tensor]) -> list[Tensor]:
    """A row taken apart into tensors of the shapes of others."""
    parts = row.split([tensor.numel() for tensor in shapes])
    return [part.view(tensor.shape) for part, tensor in zip(parts, shapes, strict=True)]
