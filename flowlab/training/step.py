"""An optimizer step of some modules of one structure: minibatch, loss, gradient, update."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from flowlab.distributed.world import SINGLE_PROCESS, World
from flowlab.optimizers.base import Optimizer
from flowlab.targets.base import Batch
from flowlab.training.batches import as_drawn
from flowlab.training.state import State, flatten, trained

LossOf = Callable[[Any, Batch], Tensor]  # of a module and a minibatch


@dataclass(frozen=True)
class Recipe:
    """The parts of a step that all jobs share.

    Attributes:
        loss: the loss of a module and a minibatch, of shape ().
        optimizer: its update; jobs may differ in the learning rate.
        place: makes minibatches of draws: see `flowlab.training.batches.Batches`.
        mixed: run matrix products in bfloat16, as `torch.autocast` does; parameters and moments keep their dtype.

    Reference:
        | Mixed Precision Training (Paulius Micikevicius et al., 2018)
        | https://arxiv.org/abs/1710.03740
    """

    loss: LossOf
    optimizer: Optimizer
    place: Callable[[Batch], Batch] = as_drawn
    mixed: bool = False

    def autocast(self, like: Tensor) -> AbstractContextManager[Any]:
        return torch.autocast(like.device.type, torch.bfloat16) if self.mixed else nullcontext()


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

        Arguments:
            state: before the step.
            drawn: the random numbers behind the minibatches, each tensor of shape (jobs, batch_size, ...).
            rates: from `rates_of_steps`, of shape (k, jobs, 1).
        """
        gradients, losses = self.gradients(state.numbers, drawn)
        if self.world.size > 1:
            both = self.world.all_reduce_mean(torch.cat([gradients, losses[:, None]], dim=1))
            gradients, losses = both[:, :-1], both[:, -1]
        return self.update(state, gradients, losses, rates), losses

    @abstractmethod
    def gradients(self, numbers: Tensor, drawn: Batch) -> tuple[Tensor, Tensor]:
        """The gradients of the losses, of shape (jobs, n), and the losses, of shape (jobs,)."""

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
        self._point_into(self.row)

    def gradients(self, numbers: Tensor, drawn: Batch) -> tuple[Tensor, Tensor]:
        self.row.copy_(numbers[0])
        batch = self.recipe.place(Batch(*(tensor[0] for tensor in drawn.tensors())))
        with self.recipe.autocast(batch.x):
            loss = self.recipe.loss(self.module, batch)
        # Parameters that the loss does not reach have a gradient of 0, as in a compiled step.
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True, materialize_grads=True)
        return flatten(gradients)[None], loss.detach()[None]

    def release(self) -> None:
        """Give each parameter memory of its own again."""
        self._point_into(self.row.clone())
        for parameter in self.parameters:
            parameter.data = parameter.data.clone()

    def _point_into(self, row: Tensor) -> None:
        parts = row.split([parameter.numel() for parameter in self.parameters])
        for parameter, part in zip(self.parameters, parts, strict=True):
            parameter.data = part.view(parameter.shape)


class StackedStep(Step):
    """The step of several modules at once, by `torch.func`: what a stack uses, and what is compiled.

    Arguments:
        modules: of one structure; buffers and frozen parameters keep the values that each has now.
        recipe, world: see Step.
    """

    def __init__(self, modules: Sequence[nn.Module], recipe: Recipe, world: World = SINGLE_PROCESS) -> None:
        super().__init__(recipe, world)
        module = modules[0]
        places: dict[Tensor, int] = {parameter: place for place, parameter in enumerate(trained(module))}
        self.places = {name: places[tensor] for name, tensor in _named_tensors(module) if tensor in places}
        self.shapes = [parameter.shape for parameter in places]
        self.sizes = [shape.numel() for shape in self.shapes]
        constants = [_constants(each) for each in modules]
        self.constants = {f"module.{name}": torch.stack([each[name] for each in constants]) for name in constants[0]}
        forward = _Loss(module, recipe)

        def loss_of_one(numbers: Tensor, constants: dict[str, Tensor], *batch: Tensor) -> Tensor:
            parameters = {f"module.{name}": value for name, value in self.named(numbers).items()}
            return functional_call(forward, (parameters, constants), batch, tie_weights=False)

        self.losses = vmap(loss_of_one)

    def gradients(self, numbers: Tensor, drawn: Batch) -> tuple[Tensor, Tensor]:
        # No loss depends on another job's parameters, so the gradient of their sum holds the gradients of all. Inside
        # vmap they would cost half as much again.
        numbers = numbers.detach().requires_grad_()
        losses = self.losses(numbers, self.constants, *self.recipe.place(drawn).tensors())
        (gradients,) = torch.autograd.grad(losses.sum(), numbers)
        return gradients, losses.detach()

    def named(self, numbers: Tensor) -> dict[str, Tensor]:
        """The trained parameters of one job by name, as views of its row."""
        parts = [part.view(shape) for part, shape in zip(numbers.split(self.sizes), self.shapes, strict=True)]
        return {name: parts[place] for name, place in self.places.items()}


def _named_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers with their names; one that several modules share has a name in each of them.

    A module that stands in several places has one name: `functional_call` would not restore it under two.
    """
    for prefix, part in module.named_modules():
        for kind in (part.named_parameters, part.named_buffers):
            yield from kind(prefix, recurse=False, remove_duplicate=False)


def _constants(module: nn.Module) -> dict[str, Tensor]:
    """The tensors that training does not change, by name."""
    return {name: tensor.detach() for name, tensor in _named_tensors(module) if not tensor.requires_grad}


def rates_of_steps(
    optimizers: Sequence[Optimizer], steps: range, max_steps: int, like: Tensor
) -> Iterator[tuple[int, Tensor]]:
    """Each step with every job's optimizer rates, of shape (k, jobs, 1): one copy to the device for all steps."""
    rates = [[optimizer.rates(step, max_steps) for optimizer in optimizers] for step in steps]
    table = like.new_tensor(rates) if len(steps) else like.new_zeros(0, len(optimizers), 1)
    return zip(steps, table.transpose(1, 2)[..., None].unbind(), strict=True)


class _Loss(nn.Module):
    """A loss as a forward, which is what `functional_call` calls."""

    def __init__(self, module: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.module, self.recipe = module, recipe

    def forward(self, *batch: Tensor) -> Tensor:
        with self.recipe.autocast(batch[0]):
            return self.recipe.loss(self.module, Batch(*batch))
