"""Density distillation: a student flow learns the density of a trained one, from the student's own samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from flowlab.config.component import setting
from flowlab.config.errors import ConfigError
from flowlab.config.registry import register
from flowlab.objectives.base import Objective

if TYPE_CHECKING:
    from torch import Tensor

    from flowlab.flow import Flow
    from flowlab.objectives._conditionals import AffineCoordinates
    from flowlab.targets.base import Batch, Target
    from flowlab.targets.flow import FlowTarget


@register("objective", "distillation")
@dataclass
class Distillation(Objective):
    r"""KL(q || p) of a student q and a teacher p = target, over points y of the student.

    Plain Monte Carlo averages log q(y) - log p(y). Its gradient has noise even where both densities are equal.

    All conditionals of both may be normal in one order of the coordinates. Then the KL of each is known, given the
    student's own coordinates before it. With q_i = N(m_q, s_q) and p_i = N(m_p, s_p), by standard deviation,

        KL(q || p) = E_q sum_i [log(s_p / s_q) + (s_q^2 + (m_q - m_p)^2) / (2 s_p^2) - 1 / 2].

    This has the same expectation. Its gradient is 0 for every point where both are equal. Flows of autoregressive
    layers with affine maps, all in one order (`flow.reverse=false` for depth > 1), on a normal base are of this form:
    see AffineCoordinates. Every other pair needs plain Monte Carlo. There the student's entropy is exact for a sample
    too, by its log det. The teacher's term has no closed form, since no single coordinate of the student is normal.

    The points come from the student. Distilling on the teacher's points instead does not penalize mass of the student
    where the teacher has none. The limit of the affine map keeps log scales from falling without end. A student starts
    at the identity, or at the standardization of a standardized teacher.

    Arguments:
        estimator: "closed" takes the KL of each coordinate, "monte_carlo" the log densities; "auto" is closed where
            both flows allow it.

    Raises:
        ConfigError: the target is no flow, or the estimator is "closed" and a flow does not allow it.

    Reference:
        | Parallel WaveNet: Fast High-Fidelity Speech Synthesis (Aäron van den Oord et al., 2018)
        | https://arxiv.org/abs/1711.10433
        | ClariNet: Parallel Wave Generation in End-to-End Text-to-Speech (Wei Ping, Kainan Peng, Jitong Chen, 2018)
        | https://arxiv.org/abs/1807.07281
    """

    needs_points: ClassVar[bool] = False
    needs_density: ClassVar[bool] = True
    label: ClassVar[str] = "KL(student || teacher) (training)"

    estimator: str = setting("auto", choices=("auto", "closed", "monte_carlo"))

    def __call__(self, flow: Flow, batch: Batch, target: FlowTarget) -> Tensor:  # type: ignore[override]
        from flowlab.autocast import full_precision

        pair = None if self.estimator == "monte_carlo" else self._pair(flow, target, batch.x)
        if pair is None:
            y, log_prob = flow.push_forward(batch.x, batch.context)
            with full_precision(y):
                return (log_prob - target.log_prob(y)).mean()
        student, teacher = pair
        y, *own = student.forward(batch.x)
        with full_precision(y):
            _, *others = teacher.inverse(y.to(target.flow_like(y).anchor.dtype))
            return normal_kl(*own, *others).sum(-1).mean().to(y.dtype)

    def check(self, target: Target) -> None:
        from flowlab.targets.flow import FlowTarget

        super().check(target)
        if not isinstance(target, FlowTarget):
            raise ConfigError(
                "objective=distillation: needs a trained flow as its target: target=flow target.run=DIRECTORY; for a "
                "density that is no flow use objective=reverse_kl"
            )

    def check_training(self, target: Target, flow: Flow | None, steps: int | None = None) -> None:
        super().check_training(target, flow, steps)
        if flow is not None and self.estimator == "closed" and (why := self.why_not_closed(flow, target)):  # type: ignore[arg-type]
            raise ConfigError(f"objective.estimator=closed: {why}; use objective.estimator=auto")

    def why_not_closed(self, flow: Flow, target: FlowTarget) -> str:
        """Why the KL of each coordinate is not known, in words; "" if it is."""
        try:
            gaussian_conditionals(flow, target.flow)
        except ValueError as error:
            return str(error)
        return ""

    def _pair(self, flow: Flow, target: FlowTarget, x: Tensor) -> tuple[AffineCoordinates, AffineCoordinates] | None:
        try:
            return gaussian_conditionals(flow, target.flow_like(x))
        except ValueError:
            return None


def gaussian_conditionals(student: Flow, teacher: Flow) -> tuple[AffineCoordinates, AffineCoordinates]:
    """The maps of two flows whose conditionals are normal in the same order of the coordinates.

    Raises:
        ValueError: a flow has other conditionals, or the orders differ.
    """
    from flowlab.distributions.base import StandardNormal
    from flowlab.objectives._conditionals import AffineCoordinates

    found = []
    for role, flow in (("student", student), ("teacher", teacher)):
        if not isinstance(flow.base, StandardNormal):
            raise ValueError(f"the base of the {role} is {flow.base.layer_name}, not StandardNormal")
        try:
            found.append(AffineCoordinates(flow.bijector))
        except ValueError as error:
            raise ValueError(f"the conditionals of the {role} are not Gaussian: {error}") from None
    if None not in (orders := [each.order for each in found]) and orders[0] != orders[1]:
        raise ValueError("student and teacher take the coordinates in different orders")
    return found[0], found[1]


def normal_kl(mean: Tensor, log_scale: Tensor, other_mean: Tensor, other_log_scale: Tensor) -> Tensor:
    """KL(N(mean, scale) || N(other_mean, other_scale)) in nats, elementwise, from log standard deviations.

    Example:
        >>> import torch
        >>> from flowlab.objectives.distillation import normal_kl
        >>> normal_kl(torch.tensor(1.0), torch.tensor(0.0), torch.tensor(0.0), torch.tensor(0.0))
        tensor(0.5000)
    """
    ratio = (2 * (log_scale - other_log_scale)).exp()
    shift = (-other_log_scale).exp() * (mean - other_mean)
    return other_log_scale - log_scale + (ratio + shift.square() - 1) / 2
