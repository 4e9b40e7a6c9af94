"""Architectures: components that build a flow for points of a shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowlab.config.component import Component
from flowlab.config.errors import ConfigError
from flowlab.config.from_class import FromClass

if TYPE_CHECKING:
    import torch

    from flowlab.flow import Flow
    from flowlab.targets.base import Batch

DATA_POINTS = 10_000  # the number of training points for an initialization


class Architecture(Component):
    """A dataclass of settings that builds a flow.

    A subclass defines `build`, and overrides the other methods where their defaults do not fit.

    Attributes:
        stackable: its flows work under `torch.func`, so jobs that differ in per-job settings alone can
            train as one stack.
        vectors_only: its flows are for points of shape (dim,) alone.
        takes_context: its flows are conditioned on the context of a conditional target.
    """

    stackable: bool = True
    vectors_only: bool = False
    takes_context: bool = True

    def check(self, event_shape: tuple[int, ...]) -> None:
        """Check settings that depend on the shape of the points, before anything is allocated.

        Raises:
            ConfigError: a setting does not fit.
        """

    def build(
        self,
        event_shape: tuple[int, ...],
        context_shape: tuple[int, ...] | None = None,
        generator: torch.Generator | None = None,
    ) -> Flow:
        """Build the flow before its first training step.

        Arguments:
            event_shape: the shape of a point.
            context_shape: the shape of a context, or None.
            generator: draws the initial parameters. In a run it also seeds torch's global stream, from which layers
                such as `nn.Linear` draw.
        """
        raise NotImplementedError(f"{type(self).__name__} must define build(event_shape, context_shape, generator)")

    @property
    def initialized_from_data(self) -> bool:
        """Whether `initialize` changes the flow."""
        return False

    def initialize(self, flow: Flow, data: Batch, generator: torch.Generator | None = None) -> None:
        """Adapt a new flow to the data.

        Arguments:
            flow: from `build`, with its standardization if the target has one.
            data: up to DATA_POINTS training points, in the units of the data.
            generator: the generator that `build` used.

        Raises:
            ConfigError: the flow cannot be adapted.
        """


@dataclass(kw_only=True)
class FlowFromClass(FromClass, Architecture):
    """A flow of a user's class, a Bijector or a Flow.

    flowlab passes `dim`, `event_shape`, `context_shape` and `generator` if the constructor has these parameters.
    """

    given = ("dim", "event_shape", "context_shape", "generator")
    stackable = False  # a user's code may not work under torch.func

    @staticmethod
    def kinds() -> tuple[type, ...]:
        from flowlab.bijectors import Bijector
        from flowlab.flow import Flow

        return Bijector, Flow

    def build(
        self,
        event_shape: tuple[int, ...],
        context_shape: tuple[int, ...] | None = None,
        generator: torch.Generator | None = None,
    ) -> Flow:
        """Build the flow; its initial parameters come from the generator even if the constructor does not take it.

        Raises:
            ConfigError: the flow cannot be built, trained or evaluated, or is for points of another shape.
        """
        import math

        from flowlab.distributions.base import StandardNormal
        from flowlab.flow import Flow
        from flowlab.seeding import torch_seeded

        dim = math.prod(event_shape)
        with torch_seeded(generator):
            made: Any = FromClass.build(
                self, dim=dim, event_shape=event_shape, context_shape=context_shape, generator=generator
            )
        flow = made if isinstance(made, Flow) else Flow(StandardNormal(dim), made)
        shape = tuple(flow.distribution().event_shape)
        if shape != tuple(event_shape):
            raise ConfigError(
                f"{self.where()}: is for points of shape {shape}; the target has points of shape {tuple(event_shape)}"
            )
        if not any(parameter.requires_grad for parameter in flow.parameters()):
            raise ConfigError(f"{self.where()}: has no parameters to train")
        if not flow.bijector.has_inverse:
            raise ConfigError(
                f"{self.where()}: has no inverse, so it gives no densities; use a class with inverse_and_log_det"
            )
        return flow
