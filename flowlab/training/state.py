"""The state of training as rows of numbers: what a step takes and gives, and how a flow becomes a row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from flowlab.optimizers.base import Optimizer


class State(NamedTuple):
    """The state of some jobs, a row for each.

    Attributes:
        numbers: the trained parameters of a flow one after another, of shape (jobs, n).
        steps: how many steps each job has taken, of shape (jobs,), as are the next two; a failed job takes no more.
        alive: whether all that a job has computed was finite.
        grad_norms: gradient norms of the last step, after clipping.
        moments: the rows that the optimizer keeps, each of shape (jobs, n).
    """

    numbers: Tensor
    steps: Tensor
    alive: Tensor
    grad_norms: Tensor
    moments: tuple[Tensor, ...]

    def tensors(self) -> list[Tensor]:
        """The state as a flat list, for functions of tensors alone."""
        return [self.numbers, self.steps, self.alive, self.grad_norms, *self.moments]

    @classmethod
    def of_tensors(cls, tensors: Sequence[Tensor]) -> State:
        """The inverse of `tensors`."""
        numbers, steps, alive, grad_norms, *moments = tensors
        return cls(numbers, steps, alive, grad_norms, tuple(moments))


def new_state(modules: Sequence[nn.Module], optimizer: Optimizer) -> State:
    """The state of modules of one structure before their first step."""
    numbers = torch.stack([flatten(trained(module)) for module in modules])
    alive = torch.ones(len(modules), dtype=torch.bool, device=numbers.device)
    moments = tuple(torch.zeros_like(numbers) for _ in optimizer.moments)
    return State(numbers, alive * 0, alive, numbers.new_zeros(len(modules)), moments)


def read_state(
    modules: Sequence[nn.Module], optimizer: Optimizer, saved: Sequence[dict[str, Any]], steps: int
) -> State:
    """The state of modules, whose weights are loaded, with the saved state of their optimizers.

    Arguments:
        modules: of one structure.
        optimizer: says which moments there are.
        saved: for each module its optimizer's state, in the layout of torch's optimizers.
        steps: how many steps they have taken.
    """
    state = new_state(modules, optimizer)
    numbered = [number for number, parameter in enumerate(modules[0].parameters()) if parameter.requires_grad]
    moments = tuple(
        torch.stack([flatten(each["state"][number][name] for number in numbered) for each in saved]).to(state.numbers)
        for name in optimizer.moments
    )
    return state._replace(steps=state.alive * steps, moments=moments)


def optimizer_state(state: State, place: int, module: nn.Module, optimizer: Optimizer, lr: float) -> dict[str, Any]:
    """The state of a job's optimizer, in the layout of torch's optimizers."""
    parameters = trained(module)
    numbered = [number for number, parameter in enumerate(module.parameters()) if parameter.requires_grad]
    rows = [_parts(row[place].clone(), parameters) for row in state.moments]
    step = state.steps[place].to(torch.float32)
    entries = {
        number: {"step": step.clone()} | {name: row[index] for name, row in zip(optimizer.moments, rows, strict=True)}
        for index, number in enumerate(numbered)
    }
    return {"state": entries, "param_groups": [{"lr": lr, "params": list(range(len(list(module.parameters()))))}]}


@torch.no_grad()
def write_parameters(state: State, place: int, module: nn.Module) -> None:
    """Give a module the parameters in a row of the state."""
    parameters = trained(module)
    for parameter, numbers in zip(parameters, _parts(state.numbers[place], parameters), strict=True):
        parameter.copy_(numbers)


def trained(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that training changes; frozen ones stay as they are."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def flatten(values: Iterable[Tensor]) -> Tensor:
    """Tensors of any shapes as one of shape (n,)."""
    return torch.cat([value.detach().flatten() for value in values])


def _parts(row: Tensor, shapes: Sequence[Tensor]) -> list[Tensor]:
    """A row split into tensors of the shapes of others."""
    parts = row.split([tensor.numel() for tensor in shapes])
    return [part.view(tensor.shape) for part, tensor in zip(parts, shapes, strict=True)]
