"""The interface of an objective: a loss in nats, and what it needs of a target."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from flowlab.config.component import Component
from flowlab.config.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from flowlab.flow import Flow
    from flowlab.targets.base import Batch, Target


class Objective(Component):
    """A loss in nats. A subclass is a dataclass that defines `__call__`.

    Attributes:
        needs_points: a minibatch holds points of the target; otherwise it holds points of the flow's base.
        needs_density: the loss evaluates the target's density.
        label: names the training loss in figures.
    """

    needs_points: ClassVar[bool] = True
    needs_density: ClassVar[bool] = False
    label: ClassVar[str] = "training loss"

    def __call__(self, flow: Flow, batch: Batch, target: Target) -> Tensor:
        """The loss of a minibatch, of shape ()."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(flow, batch, target)")

    def check(self, target: Target) -> None:
        """Check that the target has what the objective needs.

        Raises:
            ConfigError: it has not.
        """
        from flowlab.targets.base import ExactTarget
        from flowlab.torch_distributions import is_unbounded

        named = getattr(target, "name", "") or type(target).__name__
        if self.needs_density and not (isinstance(target, ExactTarget) and is_unbounded(target.support)):
            raise ConfigError(
                f"objective={self.name}: needs a target whose density is known and positive everywhere; "
                f"target={named} has none; use objective=maximum_likelihood"
            )
        if not self.needs_points and target.context_shape is not None:
            raise ConfigError(
                f"objective={self.name}: trains on no points and so without contexts, but target={named} is "
                "conditional; use objective=maximum_likelihood"
            )
        if not self.needs_points and target.train_size is not None:
            raise ConfigError(f"target.train_size: objective={self.name} trains on no data; leave it null")

    def check_flow(self, flow: Flow, target: Target) -> None:
        """Check that the flow has what the objective needs, or raise a ConfigError; by default any flow will do."""
