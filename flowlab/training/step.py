"""An optimizer step of modules of one structure: minibatch, loss, gradient, update; and the state that it changes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from flowlab.distributed.world import SINGLE_PROCESS, World
from flowlab.optimizers.base import Optimizer
from flowlab.targets.base import Batch, Minibatch
from flowlab.torch_distributions import is_compiled

LossOf = Callable[[Any, Batch], Tensor]  # the loss of a module and a minibatch


def as_drawn(drawn: Batch) -> Batch:
    """For draws that are minibatches already."""
    return drawn


@dataclass(frozen=True)
class Recipe:
    """The parts of a step that all jobs share.

    Attributes:
        loss: the loss of a module and a minibatch, of shape ().
        optimizer: its update; jobs may differ in the learning rate.
        from_draws: makes minibatches of draws: see `flowlab.training.build.Batches`.
        mixed: run matrix products in bfloat16, as `torch.autocast` does; parameters and moments keep their dtype.

    Reference:
        | Mixed Precision Training (Paulius Micikevicius et al., 2018)
        | https://arxiv.org/abs/1710.03740
    """

    loss: LossOf
    optimizer: Optimizer
    from_draws: Callable[[Batch], Batch] = as_drawn
    mixed: bool = False

    def autocast(self, like: Tensor) -> AbstractContextManager[Any]:
        return torch.autocast(like.device.type, torch.bfloat16) if self.mixed else nullcontext()


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
        return [*self[:-1], *self.moments]

    @classmethod
    def of_tensors(cls, tensors: Sequence[Tensor]) -> State:
        """The inverse of `tensors`."""
        numbers, steps, alive, grad_norms, *moments = tensors
        return cls(numbers, steps, alive, grad_norms, tuple(moments))

    def with_alive(self, places: Sequence[int]) -> State:
        """The state in which the jobs at these places alone are alive."""
        chosen = torch.tensor(places, device=self.alive.device)
        return self._replace(alive=torch.zeros_like(self.alive).index_fill(0, chosen, True))


class Step(ABC):
    """A step as a function of a state, draws and rates; it changes no argument.

    A job whose loss, gradient or new parameters are not finite keeps the parameters that it had.

    Arguments:
        recipe: the loss and the optimizer.
        world: the ranks that average their gradients.
    """

    def __init__(self, recipe: Recipe, world: World = SINGLE_PROCESS) -> None:
        self.recipe, self.world = recipe, world

    def __call__(self, state: State, drawn: Batch, rates: Tensor) -> tuple[State, Tensor]:
        """The state after a step, and the losses before it in nats, of shape (jobs,).

        The minibatches are drawn as tensors of shape (jobs, batch_size, ...); the rates come from `rates_of_steps`.
        """
        gradients, losses = self.average(*self.gradients(state.numbers, state.steps, drawn))
        return self.update(state, gradients, losses, rates), losses

    @abstractmethod
    def gradients(self, numbers: Tensor, steps: Tensor, drawn: Batch) -> tuple[Tensor, Tensor]:
        """The gradients of the losses, of shape (jobs, n), and the losses, of shape (jobs,).

        Parameters and numbers of steps are rows of a State.
        """

    def average(self, gradients: Tensor, losses: Tensor) -> tuple[Tensor, Tensor]:
        """The means of gradients and losses over the ranks."""
        if self.world.size == 1:
            return gradients, losses
        both = self.world.all_reduce_mean(torch.cat([gradients, losses[:, None]], dim=1))
        return both[:, :-1], both[:, -1]

    def update(self, state: State, gradients: Tensor, losses: Tensor, rates: Tensor) -> State:
        """Clip the gradients and let the optimizer use them."""
        optimizer = self.recipe.optimizer
        alive = state.alive & losses.isfinite() & gradients.isfinite().all(-1)
        gradients = torch.where(alive[:, None], gradients, 0.0)
        gradients, norms = optimizer.clipped(gradients)
        numbers, moments = optimizer.update(state.numbers, gradients, state.moments, rates)
        alive = alive & numbers.isfinite().all(-1)
        numbers = torch.where(alive[:, None], numbers, state.numbers)
        return State(numbers, state.steps + alive, alive, norms, tuple(moments))


class SingleStep(Step):
    """The step of one module, by automatic differentiation of its own parameters, which follow the state.

    Arguments:
        module: its trained parameters become views of one row of memory, until `release`.
        recipe, world: see Step.
    """

    def __init__(self, module: nn.Module, recipe: Recipe, world: World = SINGLE_PROCESS) -> None:
        super().__init__(recipe, world)
        self.module, self.parameters = module, trained(module)
        self.row = flatten(self.parameters)
        for parameter, part in zip(self.parameters, _split(self.row, self.parameters), strict=True):
            parameter.data = part

    def gradients(self, numbers: Tensor, steps: Tensor, drawn: Batch) -> tuple[Tensor, Tensor]:
        self.row.copy_(numbers[0])
        batch = Minibatch(self.recipe.from_draws(Batch(*(tensor[0] for tensor in drawn.tensors()))), steps[0])
        with self.recipe.autocast(batch.x):
            loss = self.recipe.loss(self.module, batch)
        # Parameters that the loss does not reach have a gradient of 0, as in a compiled step.
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True, materialize_grads=True)
        return flatten(gradients)[None], loss.detach()[None]

    def release(self) -> None:
        """Give each parameter memory of its own again."""
        for parameter in self.parameters:
            parameter.data = parameter.data.clone()


class StackedStep(Step):
    """The step of several modules at once, by `torch.func`: what a stack uses, and what is compiled.

    Arguments:
        modules: modules of one structure; buffers and frozen parameters keep the values that each has now.
        recipe, world: see Step.
    """

    def __init__(self, modules: Sequence[nn.Module], recipe: Recipe, world: World = SINGLE_PROCESS) -> None:
        super().__init__(recipe, world)
        self.parameters = trained(modules[0])
        places: dict[Tensor, int] = {parameter: place for place, parameter in enumerate(self.parameters)}
        self.places = {
            f"module.{name}": places[tensor] for name, tensor in _named_tensors(modules[0]) if tensor in places
        }
        constants = [
            {f"module.{name}": tensor.detach() for name, tensor in _named_tensors(each) if not tensor.requires_grad}
            for each in modules
        ]
        self.constants = {name: torch.stack([each[name] for each in constants]) for name in constants[0]}
        self.losses = vmap(self._loss_of_one)
        self.module = _Loss(modules[0], recipe)

    def gradients(self, numbers: Tensor, steps: Tensor, drawn: Batch) -> tuple[Tensor, Tensor]:
        # No loss depends on another job's parameters, so the gradient of their sum holds the gradients of all. Inside
        # vmap they would cost half as much again.
        numbers = numbers.detach().requires_grad_()
        losses = self.losses(numbers, self.constants, steps, *self.recipe.from_draws(drawn).tensors())
        (gradients,) = torch.autograd.grad(losses.sum(), numbers)
        return gradients, losses.detach()

    def _loss_of_one(self, numbers: Tensor, constants: dict[str, Tensor], step: Tensor, *batch: Tensor) -> Tensor:
        parts = _split(numbers, self.parameters)
        parameters = {name: parts[place] for name, place in self.places.items()}
        if is_compiled():  # with the coordinates of all points side by side, as the products of networks have them
            batch = tuple(part.mT.contiguous().mT if part.ndim == 2 else part for part in batch)
        return functional_call(self.module, (parameters, constants), (step, *batch), tie_weights=False)


class _Loss(nn.Module):
    """A loss as a forward, which is what `functional_call` calls."""

    def __init__(self, module: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.module, self.recipe = module, recipe

    def forward(self, step: Tensor, *tensors: Tensor) -> Tensor:
        batch = Minibatch(Batch(*tensors), step)
        with self.recipe.autocast(batch.x):
            return self.recipe.loss(self.module, batch)


def _named_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers with their names; one that several modules share has a name in each of them.

    A module that stands in several places has one name: `functional_call` would not restore it under two.
    """
    for prefix, part in module.named_modules():
        for kind in (part.named_parameters, part.named_buffers):
            yield from kind(prefix, recurse=False, remove_duplicate=False)


def rates_of_steps(
    optimizers: Sequence[Optimizer], steps: range, max_steps: int, like: Tensor
) -> Iterator[tuple[int, Tensor]]:
    """Each step with every job's optimizer rates, of shape (k, jobs, 1): one copy to the device for all steps."""
    rates = [[optimizer.rates(step, max_steps) for optimizer in optimizers] for step in steps]
    table = like.new_tensor(rates) if len(steps) else like.new_zeros(0, len(optimizers), 1)
    return zip(steps, table.transpose(1, 2)[..., None].unbind(), strict=True)


def new_state(modules: Sequence[nn.Module], optimizer: Optimizer) -> State:
    """The state of modules of one structure before their first step."""
    numbers = torch.stack([flatten(trained(module)) for module in modules])
    alive = torch.ones(len(modules), dtype=torch.bool, device=numbers.device)
    moments = tuple(torch.zeros_like(numbers) for _ in optimizer.moments)
    return State(numbers, alive * 0, alive, numbers.new_zeros(len(modules)), moments)


def read_state(
    modules: Sequence[nn.Module], optimizer: Optimizer, saved: Sequence[dict[str, Any]], steps: int
) -> State:
    """The state of modules of one structure after some steps: of their weights, and of the saved optimizers' states."""
    state, numbers = new_state(modules, optimizer), _numbers_of_trained(modules[0])
    moments = tuple(
        torch.stack([flatten(each["state"][number][name] for number in numbers) for each in saved]).to(state.numbers)
        for name in optimizer.moments
    )
    return state._replace(steps=state.alive * steps, moments=moments)


def optimizer_state(state: State, place: int, module: nn.Module, optimizer: Optimizer, lr: float) -> dict[str, Any]:
    """The state of a job's optimizer, in the layout of torch's optimizers."""
    rows = [_split(row[place].clone(), trained(module)) for row in state.moments]
    step = state.steps[place].to(torch.float32)
    entries = {
        number: {"step": step.clone()} | {name: row[index] for name, row in zip(optimizer.moments, rows, strict=True)}
        for index, number in enumerate(_numbers_of_trained(module))
    }
    return {"state": entries, "param_groups": [{"lr": lr, "params": list(range(len(list(module.parameters()))))}]}


@torch.no_grad()
def write_parameters(state: State, place: int, module: nn.Module) -> None:
    """Give a module the parameters in a row of the state."""
    parameters = trained(module)
    for parameter, numbers in zip(parameters, _split(state.numbers[place], parameters), strict=True):
        parameter.copy_(numbers)


def trained(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that training changes; frozen ones stay as they are."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def flatten(values: Iterable[Tensor]) -> Tensor:
    """Tensors of any shapes as one of shape (n,)."""
    return torch.cat([value.detach().flatten() for value in values])


def _split(row: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The inverse of flatten: views of a row with the shapes of other tensors."""
    parts = row.split([tensor.numel() for tensor in like])
    return [part.view(tensor.shape) for part, tensor in zip(parts, like, strict=True)]


def _numbers_of_trained(module: nn.Module) -> list[int]:
    """The places of the trained parameters among all parameters, by which torch's optimizers number them."""
    return [number for number, parameter in enumerate(module.parameters()) if parameter.requires_grad]
