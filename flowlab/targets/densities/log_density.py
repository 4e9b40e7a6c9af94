"""A distribution that is given by its log density alone, up to a constant: a posterior, an energy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from flowlab.config.component import Component, setting
from flowlab.config.errors import ConfigError
from flowlab.config.registry import register
from flowlab.targets.base import ExactTarget
from flowlab.targets.densities.support import Support

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.distributions.constraints import Constraint

POINTS = 64  # at which the function is tried


class LogDensity(ExactTarget):
    """A distribution given by an unnormalized log density; neither samples nor the normalizer are known.

    A flow learns it by the reverse KL divergence. It ends with a fixed map onto the support, whose log det is part of
    its density. Validations and the test estimate the ELBO, E_q [log density - log q] in nats, from points of the flow.

    Arguments:
        log_density: gives log densities in nats, of shape (n,), for points of shape (n, dim), by operations of torch. A
            constant may be missing. It is called with points inside of the support, without the argument checks of
            `torch.distributions`.
        dim: the number of coordinates.
        support: where the coordinates lie: constraints of `torch.distributions` or words, one for each coordinate or
            one for all; see Support. None: all numbers.
        bounds: the interval of each coordinate that figures show; None follows the samples of the flow.
        key: the setting that gives the function, for messages.

    Raises:
        ConfigError: the log density is no function, the dimension is below 1, or the support does not fit it.

    Example:
        >>> import torch
        >>> from torch.distributions import Gamma, constraints
        >>> from flowlab.targets import LogDensity
        >>> target = LogDensity(lambda x: Gamma(3.0, 2.0).log_prob(x).sum(-1), dim=1, support=constraints.positive)
        >>> target.log_prob(torch.tensor([[1.0]]))
        tensor([-0.6137])
    """

    entropy = None
    log_normalizer = None
    has_points = False
    flow_ends_in_support = True

    def __init__(
        self,
        log_density: Callable[[Tensor], Tensor],
        dim: int,
        support: Constraint | str | Sequence[Any] | None = None,
        bounds: Sequence[tuple[float, float]] = (),
        key: str = "log_density",
    ) -> None:
        super().__init__()
        if not callable(log_density):
            raise ConfigError(
                f"{key}: is a {type(log_density).__name__} and must be a function: f(x) of shape (n,) for points x of "
                "shape (n, d)"
            )
        if type(dim) is not int or dim < 1:
            raise ConfigError(f"dim={dim!r}: must be the number of coordinates of a point, at least 1")
        self.log_density, self.key = log_density, key
        self.event_shape, self.bounds = (dim,), tuple(bounds)
        self.words = Support.of(support, dim)

    def build(self, **given: Any) -> LogDensity:
        return self

    @property
    def support(self) -> Constraint:
        return self.words.constraint

    def support_of_flow(self, needs_density: bool) -> Support | None:
        return None if self.words.is_unbounded else self.words

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The log density in nats at points of shape (*, dim), up to the constant log Z; of shape (*)."""
        with _without_validation():
            return self.log_density(x.reshape(-1, self.dim)).to(x.dtype).reshape(x.shape[:-1])

    def check(self, dtype: torch.dtype, seed: int) -> None:
        """Try the function at points of its support.

        Raises:
            ConfigError: it fails, or its values have a wrong shape, no gradient, or are not finite.
        """
        import torch

        points = self._points(dtype, seed).requires_grad_()
        try:
            with torch.enable_grad(), _without_validation():
                values = self.log_density(points)
        except Exception as error:  # a user's function may raise anything
            raise ConfigError(
                f"{self.key}: fails for points of shape {tuple(points.shape)}: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(values, torch.Tensor) or values.shape != points.shape[:1]:
            given = f"of shape {tuple(values.shape)}" if isinstance(values, torch.Tensor) else type(values).__name__
            raise ConfigError(
                f"{self.key}: gives {given} for points of shape {tuple(points.shape)}, and must give one log density "
                f"for each point, of shape ({len(points)},); sum over the coordinates with .sum(-1)"
            )
        if not values.requires_grad:
            raise ConfigError(
                f"{self.key}: its values have no gradient; use operations of torch, without .detach(), .item() or numpy"
            )
        if not values.isfinite().all():
            bad = int((~values.isfinite()).sum())
            raise ConfigError(
                f"{self.key}: is not finite at {bad} of {len(points)} points of its support; name where the density is "
                f"positive by the support, now {list(self.words.words)}"
            )

    @cached_property
    def stackable(self) -> bool:  # type: ignore[override]
        """Whether `torch.func.vmap` takes the function, so the jobs of a sweep can be trained as one stack."""
        import torch

        points = self._points(torch.get_default_dtype(), 0)
        try:
            with _without_validation():
                torch.func.vmap(self.log_density)(points.expand(2, *points.shape))
        except Exception:  # any error of a user's function
            return False
        return True

    def _points(self, dtype: torch.dtype, seed: int) -> Tensor:
        """Points of the support, of shape (POINTS, dim)."""
        import torch

        from flowlab.seeding import generator

        drawn = torch.randn(POINTS, self.words.free, generator=generator(seed, "density check"), dtype=torch.float64)
        bijector = self.words.bijector()
        return (drawn if bijector is None else bijector.double().forward(drawn)).to(dtype)


@register("target", "density")
@dataclass(kw_only=True)
class FunctionTarget(Component):
    """The distribution of a user's function, an unnormalized log density; see LogDensity.

    Arguments:
        _target_: the function by its name, package.function, in a package that FLOWLAB_ALLOW lists. It takes points of
            shape (n, dim) and gives log densities in nats, of shape (n,), up to a constant.
        dim: the number of coordinates.
        support: for each coordinate real, positive or bounded:LOW:HIGH, or one of them for all; simplex:K for K
            coordinates whose sum is 1.
    """

    options: ClassVar[dict[str, str]] = {"objective": "reverse_kl"}

    _target_: str = setting()
    dim: int = setting(minimum=1, maximum=1_000_000)
    support: list[str] = setting(["real"])

    def __post_init__(self) -> None:
        from flowlab.config.security import check_name

        check_name("target._target_", self._target_)
        Support.of(self.support, self.dim)

    def build(self, **given: Any) -> LogDensity:
        from flowlab.config.load import load_function

        function = load_function("target._target_", self._target_)
        target = LogDensity(function, self.dim, self.support, key=f"target._target_={self._target_}")
        target.name = self.name  # type: ignore[misc]
        return target


@contextmanager
def _without_validation() -> Iterator[None]:
    """Let distributions check no arguments: a check branches on values, which neither vmap nor a compiler takes."""
    from torch.distributions import Distribution

    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)
