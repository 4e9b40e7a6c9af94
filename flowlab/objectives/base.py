"""The interface of an objective: a loss in nats, and what it needs of a target; and maximum likelihood, the default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from flowlab.config.component import Component
from flowlab.config.errors import ConfigError
from flowlab.config.registry import lookup, register

if TYPE_CHECKING:
    from torch import Tensor

    from flowlab.flow import Flow
    from flowlab.targets.base import Batch, ExactTarget, Target


class Objective(Component):
    """A loss in nats. A subclass is a dataclass that defines `__call__`.

    Attributes:
        needs_points: a minibatch holds points of the target; otherwise it holds points of the flow's base.
        needs_density: the loss evaluates the target's density.
        label: names the training loss in figures.
        log_name: names it in the log of a Lightning Trainer, after "train_".
    """

    needs_points: ClassVar[bool] = True
    needs_density: ClassVar[bool] = False
    label: ClassVar[str] = "training loss"
    log_name: ClassVar[str] = "loss"

    def __call__(self, flow: Flow, batch: Batch, target: Target) -> Tensor:
        """The loss of a minibatch, of shape ()."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(flow, batch, target)")

    def check(self, target: Target) -> None:
        """Check that the target has what the objective needs.

        Raises:
            ConfigError: it has not.
        """
        from flowlab.targets.base import ExactTarget

        named = _name(target)
        if self.needs_points and not target.has_points:
            raise ConfigError(
                f"objective={self.name}: needs points of the target, but target={named} has a density alone; use "
                "objective=reverse_kl, or define from_draws(drawn), or rows(split, count, seed, dtype)"
            )
        if self.needs_density and not isinstance(target, ExactTarget):
            raise ConfigError(
                f"objective={self.name}: needs a target whose density is known; target={named} has none; use "
                "objective=maximum_likelihood"
            )
        if not self.needs_points and target.context_shape is not None:
            raise ConfigError(
                f"objective={self.name}: trains on no points and so without contexts, but target={named} is "
                "conditional; use objective=maximum_likelihood"
            )
        if not self.needs_points and target.train_size is not None:
            raise ConfigError(f"target.train_size: objective={self.name} trains on no data; leave it null")

    def check_training(self, target: Target, flow: Flow | None, steps: int | None = None) -> None:
        """Check that the objective can train a flow on a target.

        Arguments:
            target: the target.
            flow: the flow; None: it is not built yet, and will end with a map onto the target's support.
            steps: the number of optimizer steps; None if it is not known.

        Raises:
            ConfigError: the target has not what `check` asks for, or density 0 at points of the flow.
        """
        self.check(target)
        if self.needs_density:
            self._check_image(target, flow)  # type: ignore[arg-type]

    def _check_image(self, target: ExactTarget, flow: Flow | None) -> None:
        from flowlab.bijectors.shapes import is_within

        support = target.support_of_flow(needs_density=True)
        inside = flow is None or support is None
        if flow is not None and support is not None:
            image = flow.distribution().known_support() or flow.distribution().support
            inside = is_within(image, target.support) or support.is_equal(image)
        if not (inside and target.positive_on_support):
            raise ConfigError(
                f"objective={self.name}: needs a target whose density is positive at all points of the flow; "
                f"target={_name(target)} has density 0 at some; use objective=maximum_likelihood, or a flow whose last "
                "bijector maps into the support of the target"
            )


@register("objective", "maximum_likelihood")
@dataclass
class MaximumLikelihood(Objective):
    """-mean log q(x | context) over points x of the target: the average negative log likelihood."""

    log_name: ClassVar[str] = "nll"

    def __call__(self, flow: Flow, batch: Batch, target: Target) -> Tensor:
        return -flow.prepared().log_prob(batch.x, batch.context).mean()


def as_objective(objective: str | Objective) -> Objective:
    """Return the objective of a name, with its default settings; return an objective unchanged."""
    return objective if isinstance(objective, Objective) else lookup("objective", objective, "objective")()


def _name(target: Target) -> str:
    return getattr(target, "name", "") or type(target).__name__
