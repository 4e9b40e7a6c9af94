"""The radial flow: it pushes points away from a centre or pulls them towards it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from flowlab.bijectors.base import Bijector
from flowlab.bijectors.elementwise import Softplus

_softplus = Softplus()


class Radial(Bijector):
    r"""y = x + beta (x - x0) / (alpha + r), r = |x - x0|: it changes distances from a centre.

    With gamma = alpha + beta, r becomes r' = r (gamma + r) / (alpha + r).

    forward  y - x0 = (x - x0) (gamma + r) / (alpha + r)
             log det  (d - 1) log((gamma + r) / (alpha + r)) + log((r^2 + 2 alpha r + alpha gamma) / (alpha + r)^2)
    inverse  x - x0 = (y - x0) (alpha + r) / (gamma + r),  r^2 + (gamma - r') r = alpha r',  r' = |y - x0|
             log det  minus the forward one at x

    alpha = softplus(raw_alpha) > 0 and gamma = softplus(raw_gamma) > 0, that is beta > -alpha, where the map is
    invertible. The distances solve a quadratic, so the inverse has a closed form; its root is computed in the form
    that adds numbers of one sign. Every term of the log det is positive, so nothing cancels.

    Arguments:
        dim: d, the length of x; x has shape (*, d).
        centre: x0, of shape (d,). A tensor is a constant, an `nn.Parameter` is learned; None is learned, initialized
            from N(0, I).
        alpha, beta: the initial values, in units of x: alpha > 0, beta > -alpha. Both are learned as raw parameters;
            the properties `alpha` and `beta` read them. The default beta = 0 is the identity.
        generator: the source of the centre; None is torch's global stream.

    Raises:
        ValueError: dim below 1, a centre of another shape or that is not finite, or alpha or beta out of range.

    Reference:
        | Variational Inference with Normalizing Flows (Danilo Rezende, Shakir Mohamed, 2015)
        | https://arxiv.org/abs/1505.05770

    Example:
        >>> import torch
        >>> from flowlab.bijectors import Radial
        >>> radial = Radial(2, centre=torch.zeros(2), alpha=1.0, beta=2.0)
        >>> y = radial(torch.tensor([3.0, 4.0]))  # r = 5 becomes 5 (1 + 2 / 6)
        >>> y.detach(), radial.inverse(y).detach()
        (tensor([4.0000, 5.3333]), tensor([3., 4.]))
    """

    event_dim = 1
    domain = codomain = constraints.real_vector
    centre: Tensor

    def __init__(
        self,
        dim: int,
        centre: Tensor | nn.Parameter | None = None,
        alpha: float = 1.0,
        beta: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"Radial: dim={dim!r} must be at least 1")
        if not 0 < alpha < math.inf:
            raise ValueError(f"Radial: alpha={alpha!r} must be positive and finite")
        if not -alpha < beta < math.inf:
            raise ValueError(f"Radial: beta={beta!r} must be finite and greater than -alpha={-alpha!r}")
        self.dim, self.event_shape = dim, (dim,)
        self._initial = tuple(_softplus.inverse(torch.tensor([alpha, alpha + beta], dtype=torch.float64)).tolist())
        self._draws_centre = centre is None
        self._register("centre", nn.Parameter(torch.empty(dim)) if centre is None else centre)
        if self.centre.shape != (dim,):
            raise ValueError(f"Radial: centre has shape {tuple(self.centre.shape)}, it must be {(dim,)}")
        if not self.centre.is_meta and centre is not None and not bool(self.centre.isfinite().all()):
            raise ValueError(f"Radial: centre={centre!r} must be finite")
        self.raw_alpha = nn.Parameter(torch.empty(()))
        self.raw_gamma = nn.Parameter(torch.empty(()))
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        with torch.no_grad():
            self.raw_alpha.fill_(self._initial[0])
            self.raw_gamma.fill_(self._initial[1])
            if self._draws_centre:
                self.centre.normal_(generator=generator)

    @property
    def alpha(self) -> Tensor:
        """alpha > 0, of shape (): the length scale of the map."""
        return _softplus(self.raw_alpha)

    @property
    def beta(self) -> Tensor:
        """beta > -alpha, of shape (): positive pushes outwards, negative pulls inwards."""
        return _softplus(self.raw_gamma) - self.alpha

    def invertible(self, dtype: torch.dtype) -> tuple[float, float]:
        end = torch.finfo(dtype).max ** 0.5  # distances are squared
        return -end, end

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        alpha, gamma = _softplus(self.raw_alpha), _softplus(self.raw_gamma)
        offset = x - self.centre
        r = torch.linalg.vector_norm(offset, dim=-1)
        y = self.centre + offset * ((gamma + r) / (alpha + r))[..., None]
        return y, self._log_det(r, alpha, gamma)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        alpha, gamma = _softplus(self.raw_alpha), _softplus(self.raw_gamma)
        offset = y - self.centre
        image = torch.linalg.vector_norm(offset, dim=-1)
        gap, product = image - gamma, alpha * image
        outside = gap >= 0
        # The root (gap + sqrt(gap^2 + 4 product)) / 2, without a difference of numbers of one sign.
        total = torch.where(outside, gap, -gap) + (gap.square() + 4 * product).sqrt()
        r = torch.where(outside, total / 2, 2 * product / total)
        x = self.centre + offset * ((alpha + r) / (gamma + r))[..., None]
        return x, -self._log_det(r, alpha, gamma)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"

    def _log_det(self, r: Tensor, alpha: Tensor, gamma: Tensor) -> Tensor:
        # Fractions of alpha + r, so no square overflows: along the d - 1 tangents, and along the radius.
        near, far = alpha / (alpha + r), r / (alpha + r)
        tangent = (gamma + r) / (alpha + r)
        radius = far * (1 + near) + near * gamma / (alpha + r)
        return (self.dim - 1) * tangent.log() + radius.log()
