"""An optimizer step of flows of one shape as a function of tensors alone: what a stack takes, and what is compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from flowlab.config.schemas import AdamConfig, Config
from flowlab.flow import Flow
from flowlab.objectives.objective import Objective
from flowlab.training.optimizer import learning_rate
from flowlab.training.state import State, trained


class Step:
    """The step of several flows together: minibatch, loss, gradient, and Adam as torch computes it.

    It reads no state and changes none. Each job has a learning rate of its own. A job whose loss or
    gradient is not finite keeps the numbers that it had.

    Arguments:
        flows: of one structure; of their numbers it keeps what training does not change, buffers and frozen parameters.
        objective: the loss of a minibatch.
        adam: of all jobs but for the learning rate.
        place: what makes minibatches of their draws: see `flowlab.training.batches.Stream`.
    """

    def __init__(
        self, flows: Sequence[Flow], objective: Objective, adam: AdamConfig, place: Callable[[Tensor], Tensor]
    ) -> None:
        self.adam, self.place = adam, place
        flow = flows[0]
        places = {parameter: place for place, parameter in enumerate(trained(flow))}
        # What several modules share has a name in each.
        self.places = {
            name: places[parameter]
            for name, parameter in flow.named_parameters(remove_duplicate=False)
            if parameter.requires_grad
        }
        self.shapes = [parameter.shape for parameter in places]
        self.sizes = [shape.numel() for shape in self.shapes]
        constants = [_constants(each) for each in flows]
        self.constants = {f"flow.{name}": torch.stack([each[name] for each in constants]) for name in constants[0]}
        loss = _Loss(flow, objective)

        def loss_of_one(numbers: Tensor, constants: dict[str, Tensor], batch: Tensor) -> Tensor:
            parameters = {f"flow.{name}": value for name, value in self.named(numbers).items()}
            return functional_call(loss, (parameters, constants), (batch,), tie_weights=False)

        self.losses = vmap(loss_of_one)

    def __call__(self, state: State, drawn: Tensor, rates: Tensor, root: Tensor) -> tuple[State, Tensor]:
        """The state after a step, and the losses before it in nats, of shape (jobs,).

        Arguments:
            state: before the step.
            drawn: what is random in the minibatches, of shape (jobs, batch_size, k).
            rates, root: of `adam_rates` at this step, of shapes (jobs,) and ().
        """
        gradients, losses = self.gradients(state.numbers, drawn)
        return self.update(state, gradients, losses, rates, root), losses

    def gradients(self, numbers: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of the losses, of shape (jobs, n), and the losses."""
        # No loss depends on the numbers of another job, so that the gradient of their sum holds those of all. Taken
        # inside vmap, gradients would cost half as much again.
        numbers = numbers.detach().requires_grad_()
        losses = self.losses(numbers, self.constants, self.place(drawn))
        (gradients,) = torch.autograd.grad(losses.sum(), numbers)
        return gradients, losses.detach()

    def update(self, state: State, gradients: Tensor, losses: Tensor, rates: Tensor, root: Tensor) -> State:
        """Clip the gradients and let Adam take them."""
        adam = self.adam
        alive = state.alive & losses.isfinite() & gradients.isfinite().all(-1)
        gradients = torch.where(alive[:, None], gradients, 0.0)
        grad_norms = gradients.norm(dim=-1)
        if adam.clip is not None:
            factor = (adam.clip / (grad_norms + 1e-6)).clamp(max=1.0)
            gradients, grad_norms = gradients * factor[:, None], grad_norms * factor
        first = state.first.lerp(gradients, 1 - adam.betas[0])
        second = torch.addcmul(state.second * adam.betas[1], gradients, gradients, value=1 - adam.betas[1])
        numbers = state.numbers - (rates * alive)[:, None] * (first / (second.sqrt() / root + adam.eps))
        return State(numbers, first, second, state.steps + alive, alive, grad_norms)

    def named(self, numbers: Tensor) -> dict[str, Tensor]:
        """The trained parameters of one job by name, as views of its numbers."""
        parts = [part.view(shape) for part, shape in zip(numbers.split(self.sizes), self.shapes, strict=True)]
        return {name: parts[place] for name, place in self.places.items()}


def _constants(flow: Flow) -> dict[str, Tensor]:
    """What training does not change, by every name that it has."""
    frozen = {
        name: parameter.detach()
        for name, parameter in flow.named_parameters(remove_duplicate=False)
        if not parameter.requires_grad
    }
    return {**frozen, **dict(flow.named_buffers(remove_duplicate=False))}


def adam_rates(configs: Sequence[Config], steps: range, like: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """For each of some steps what Adam's update takes of the step's number t, counted from 1.

    The learning rate of each job over 1 - beta1^t, of shape (jobs,), and the root of 1 - beta2^t, of shape (), in the
    dtype and on the device of `like`: two small copies for all steps together.
    """
    first, second = configs[0].optimizer.betas
    rates = [
        [learning_rate(config.optimizer, step, config.max_steps) / (1 - first ** (step + 1)) for config in configs]
        for step in steps
    ]
    roots = [(1 - second ** (step + 1)) ** 0.5 for step in steps]
    return zip(like.new_tensor(rates).unbind(), like.new_tensor(roots).unbind(), strict=True)


class _Loss(nn.Module):
    """An objective as a forward, which is what `functional_call` calls."""

    def __init__(self, flow: Flow, objective: Objective) -> None:
        super().__init__()
        self.flow, self.objective = flow, objective

    def forward(self, batch: Tensor) -> Tensor:
        return self.objective(self.flow, batch)
