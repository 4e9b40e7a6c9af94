"""A trained flow as a target: a teacher whose density and samples are exact."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowlab.config.component import Component, setting
from flowlab.config.errors import ConfigError
from flowlab.config.paths import local_path
from flowlab.config.registry import register
from flowlab.targets.base import Bounds, ExactTarget

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.distributions.constraints import Constraint

    from flowlab.flow import Flow

SAMPLES = 10_000  # for the intervals of figures, and for center and spread


class FlowTarget(ExactTarget):
    """The distribution of a trained flow: the teacher of a student flow.

    Its points are the flow's samples, and its density is the flow's. The flow is copied and frozen: training a student
    never changes it. Its entropy has no closed form; `estimate_entropy` estimates it.

    Arguments:
        flow: an unconditional flow without a batch.
        train_size: see ExactTarget.
        standardize: let the student end with the inverse of a standardization, by samples of the flow.

    Attributes:
        path: the checkpoint that the flow was read from; None for a flow in memory.
        fingerprint: the SHA-256 of the flow's weights, so a resumed run can tell whether the teacher changed.

    Raises:
        ConfigError: the flow has a batch of distributions.

    Example:
        >>> from flowlab import Flow, StandardNormal
        >>> from flowlab.bijectors import AffineScalar
        >>> from flowlab.targets import FlowTarget
        >>> teacher = FlowTarget(Flow(StandardNormal(2), AffineScalar(1.0, scale=2.0)))
        >>> tuple(teacher.rows("test", 5, seed=0).shape)
        (5, 2)
    """

    path: Path | None = None

    def __init__(self, flow: Flow, train_size: int | None = None, standardize: bool = False) -> None:
        super().__init__(train_size)
        if flow.batch_shape():
            raise ConfigError(
                f"FlowTarget: the flow is a batch of {tuple(flow.batch_shape())} distributions; give a flow of one"
            )
        self.flow = copy.deepcopy(flow).requires_grad_(False).eval()
        self.event_shape, self.standardize = tuple(flow.event_shape), standardize  # type: ignore[assignment]
        self._copies = {self._key(self.flow.anchor): self.flow}

    def build(self, **given: Any) -> FlowTarget:
        return copy.copy(self)

    @property
    def support(self) -> Constraint:
        return self.flow.distribution().support

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        digest = hashlib.sha256()
        for name, tensor in self.flow.state_dict().items():
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @cached_property
    def entropy(self) -> None:  # type: ignore[override]
        return None

    @cached_property
    def bounds(self) -> Bounds:  # type: ignore[override]
        """The central 99 percent of samples in each coordinate, with a margin."""
        import torch

        points = self._samples.flatten(1)
        low, high = points.quantile(torch.tensor([0.005, 0.995], dtype=points.dtype), dim=0)
        margin = 0.15 * (high - low)
        return tuple(zip((low - margin).tolist(), (high + margin).tolist(), strict=True))

    @cached_property
    def standardization(self) -> tuple[Tensor, Tensor] | None:  # type: ignore[override]
        return (self._samples.mean(0), self._samples.std(0)) if self.standardize else None

    @cached_property
    def _samples(self) -> Tensor:
        """Samples in float64 on the CPU."""
        import torch

        from flowlab.seeding import generator

        return self.sample(SAMPLES, generator(0, "samples of a teacher"), torch.float64)

    def draw(self, count: int, generator: torch.Generator, dtype: torch.dtype | None) -> Tensor:
        """Samples of the flow's base, of shape (count, base event), on the generator's device."""
        import torch

        like = torch.empty(0, dtype=dtype or torch.float32, device=generator.device)
        flow = self.flow_like(like)
        with torch.no_grad():
            return flow.base.sample((count,), generator, flow.base_event_shape[: flow.promoted_dims]).to(like)

    def from_draws(self, drawn: Tensor) -> Tensor:
        import torch

        from flowlab.flow import map_blocks
        from flowlab.torch_distributions import can_branch_on_values

        flow, function = self.flow_like(drawn), self.flow_like(drawn).bijector.forward
        x = drawn.to(flow.anchor.dtype)
        with torch.no_grad():
            return (map_blocks(function, x) if can_branch_on_values(x) else function(x)).to(drawn.dtype)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        flow = self.flow_like(x)
        log_prob: Tensor = flow.log_prob(x.to(flow.anchor.dtype))
        return log_prob.to(x.dtype)

    def flow_like(self, x: Tensor) -> Flow:
        """The frozen flow on the device of points, in the wider dtype of both."""
        import torch

        key = x.device, torch.promote_types(x.dtype, self.flow.anchor.dtype)
        if key not in self._copies:
            self._copies[key] = copy.deepcopy(self.flow).to(*key)
        return self._copies[key]

    @staticmethod
    def _key(anchor: Tensor) -> tuple[torch.device, torch.dtype]:
        return anchor.device, anchor.dtype

    def to_(self, device: torch.device | str) -> None:
        self.flow = self.flow_like(self.flow.anchor.to(device))

    def estimate_entropy(self, count: int = 100_000, seed: int = 0) -> tuple[float, float]:
        """A Monte Carlo estimate of the entropy in nats, and its standard error.

        Example:
            >>> from flowlab import Flow, StandardNormal
            >>> from flowlab.bijectors import AffineScalar
            >>> from flowlab.targets import FlowTarget
            >>> value, error = FlowTarget(Flow(StandardNormal(1), AffineScalar())).estimate_entropy()
            >>> abs(value - 1.4189) < 5 * error  # log(2 pi e) / 2
            True
        """
        import torch

        from flowlab.seeding import generator

        drawn = self.draw(count, generator(seed, "entropy", 0, self.flow.anchor.device), self.flow.anchor.dtype)
        with torch.no_grad():
            surprise = -self.flow.push_forward(drawn)[1].double()
        return float(surprise.mean()), float(surprise.std() / count**0.5)


@register("target", "flow")
@dataclass(kw_only=True)
class FlowSettings(Component):
    """The keys of `target=flow`: the flow of a run that is done, with the weights that gave its result.

    Arguments:
        run: the run directory. The run needs an unconditional target.
        train_size: see ExactTarget.

    Raises:
        ConfigError: there is no such run, it is not done, or its flow is conditional.
    """

    run: str
    train_size: int | None = setting(None, minimum=1)

    def __post_init__(self) -> None:
        local_path("target.run", self.run)

    def build(self, **given: Any) -> FlowTarget:
        # A run directory is read by a layer above the targets, and only here.
        from flowlab.runs.directory import load_run

        run = load_run(local_path("target.run", self.run))
        if not run.done:
            raise ConfigError(
                f"target.run={self.run}: is not done, and its weights may change; finish it first: resume={self.run}"
            )
        weights = run.result.get("weights", "last")
        stated = run.checkpoint(weights)["flowlab"]
        if "context_shape" in stated:
            raise ConfigError(
                f"target.run={self.run}: its flow is conditional, and a flow does not say which contexts to draw; use "
                "a run whose target has no context"
            )
        target = FlowTarget(run.flow, self.train_size, standardize=bool(stated.get("standardized")))
        target.path = run.directory / "checkpoints" / f"{weights}.ckpt"
        return target

    def with_absolute_paths(self) -> FlowSettings:
        return type(self)(run=str(Path(local_path("target.run", self.run)).resolve()), train_size=self.train_size)
