"""A target of simulations: parameters given data, as neural posterior estimation learns them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from flowlab.config.component import Component, setting
from flowlab.config.registry import lookup, register
from flowlab.targets.base import Batch, Bounds, Target
from flowlab.targets.tasks.base import Task, draw_inside

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from flowlab.flow import Flow

HELD_OUT = 0.1  # the share of the simulations on which early stopping relies


@register("target", "simulator")
@dataclass
class Simulator(Target, Component):
    r"""Parameters theta given data x of a simulator: theta ~ p(theta), x ~ p(x | theta).

    A flow q(theta | x) that maximizes the likelihood of the simulated pairs learns the posterior, for every x at once.
    A tenth of the simulations are the validation rows, so early stopping costs no further simulation. The test rows are
    fresh simulations.

    Parameters are standardized by the flow's last bijector. Contexts are standardized data: `encode_context` makes them
    of an observation. Both use the training rows' means and standard deviations. A flow has mass outside of a bounded
    prior: `sample_posterior` rejects it, and `flowlab-sample RUN context=OBSERVATION` does not.

    Arguments:
        task: a task: two_moons, gaussian_linear, gaussian_linear_uniform, gaussian_mixture, slcp, or one that is
            registered.
        simulations: the number of simulations, training and validation rows together.
        simulation_seed: the seed of the simulations.

    Raises:
        ConfigError: there is no such task.

    Reference:
        | Fast epsilon-free Inference of Simulation Models with Bayesian Conditional Density Estimation (George
        | Papamakarios, Iain Murray, 2016)
        | https://arxiv.org/abs/1605.06376

    Example:
        >>> from flowlab.targets import Simulator
        >>> train = Simulator("gaussian_linear", simulations=100).batch("train", 0, seed=0)
        >>> tuple(train.x.shape), tuple(train.context.shape)
        ((90, 10), (90, 10))
    """

    task: str = setting("two_moons")
    simulations: int = setting(1000, minimum=20)
    simulation_seed: int = setting(0, minimum=0)

    preset = "simulator"

    def __post_init__(self) -> None:
        self.event_shape = (self.simulator.dim,)
        self.context_shape = (self.simulator.data_dim,)
        self.train_size = self.simulations - round(HELD_OUT * self.simulations)

    @property
    def simulator(self) -> Task:
        """The prior and the simulator."""
        made: Task = lookup("task", self.task, "target.task")()
        return made

    @property
    def bounds(self) -> Bounds:  # type: ignore[override]
        return self.simulator.bounds

    @property
    def columns(self) -> list[str]:
        return [f"theta{number + 1}" for number in range(self.dim)]

    def build(self, **given: Any) -> Simulator:
        """A copy, which simulates on first use."""
        return replace(self)

    @cached_property
    def _simulated(self) -> dict[str, Batch]:
        from flowlab.seeding import generator

        theta, x = self._simulate(self.simulations, generator(self.simulation_seed, "simulations"))
        assert self.train_size is not None
        sizes = [self.train_size, self.simulations - self.train_size]
        splits = zip(theta.split(sizes), x.split(sizes), strict=True)
        return dict(zip(("train", "validation"), (Batch(*split) for split in splits), strict=True))

    def _simulate(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Parameters and data in float64."""
        import torch

        theta = self.simulator.draw_prior(count, generator, torch.float64)
        return theta, self.simulator.simulate(theta, generator)

    @cached_property
    def standardization(self) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        theta = self._simulated["train"].x
        return theta.mean(0), theta.std(0)

    @cached_property
    def _context_units(self) -> tuple[Tensor, Tensor]:
        x = self._simulated["train"].context
        assert x is not None
        return x.mean(0), x.std(0)

    def encode_context(self, values: Tensor) -> Tensor:
        """The context of data of shape (*, data_dim): standardized data, in their dtype."""
        mean, deviation = (each.to(values) for each in self._context_units)
        return (values - mean) / deviation

    def rows(self, split: str, count: int, seed: int, dtype: torch.dtype | None = None) -> Tensor:
        return self.batch(split, count, seed, dtype).x

    def batch(self, split: str, count: int, seed: int, dtype: torch.dtype | None = None) -> Batch:
        import torch

        from flowlab.seeding import generator

        if split in self._simulated:
            theta, x = self._simulated[split]
        else:
            theta, x = self._simulate(count, generator(seed, f"{split} data"))
        assert x is not None
        return Batch(theta, self.encode_context(x)).to(dtype or torch.float32)

    def sample_posterior(
        self, flow: Flow, x: Tensor, count: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, float]:
        """Samples of a flow given one observation, without those outside the prior's support.

        Rejection makes them samples of q(theta | x) restricted to the support and normalized again.

        Arguments:
            flow: a flow that was trained on this target.
            x: the observation, of shape (data_dim,), in the units of the simulator.
            count: the number of samples.
            generator: draws them; None is torch's global stream.

        Returns:
            Samples of shape (count, dim), and the share of the flow's samples that lies in the support.

        Raises:
            DataError: hardly any sample lies in the support.
        """
        context = self.encode_context(x.to(flow.anchor))

        def draw(number: int) -> Tensor:
            return flow.sample((number,), context, generator)

        return draw_inside(draw, self.simulator.support, count)
