"""Elementwise maps of the real line: affine, exponential, sigmoid, tanh, softplus and distribution functions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from flowlab.bijectors.base import Bijector
from flowlab.torch_distributions import open_interval

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
HALF_SQRT_TWO = math.sqrt(0.5)
HALF_SQRT_TWO_REST = -4.833646656726457e-17  # sqrt(1/2) minus its nearest double
# The first bits of sqrt(1/2), the others, and the grid on which |x| < 64 is split; farther out all is 0 or 1.
SPLIT = {
    dtype: (root, HALF_SQRT_TWO - root + HALF_SQRT_TWO_REST, 2.0 ** (bits - 6))
    for dtype, bits in ((torch.float64, 26), (torch.float32, 12))
    for root in [round(HALF_SQRT_TWO * 2**bits) / 2**bits]
}


class AffineScalar(Bijector):
    r"""y = scale x + shift, elementwise.

    forward  y = scale x + shift        log det  log |scale|
    inverse  x = (y - shift) / scale    log det  -log |scale|

    Arguments:
        shift, scale: numbers or tensors that broadcast against x. A number or a plain tensor is a constant; an
            `nn.Parameter` is learned. The scale must not be 0.

    Raises:
        ValueError: the scale holds a zero, or it or the shift an infinity or NaN.

    Example:
        >>> import torch
        >>> from flowlab.bijectors import AffineScalar
        >>> y, log_det = AffineScalar(shift=1.0, scale=2.0).forward_and_log_det(torch.tensor([0.0, 0.5]))
        >>> y, log_det
        (tensor([1., 2.]), tensor([0.6931, 0.6931]))
    """

    constant_log_det = affine = True
    shift: Tensor
    scale: Tensor

    def __init__(self, shift: float | Tensor | nn.Parameter = 0.0, scale: float | Tensor | nn.Parameter = 1.0) -> None:
        super().__init__()
        self._register("shift", shift)
        self._register("scale", scale)
        if not self.scale.is_meta and not bool((self.scale.isfinite() & (self.scale != 0)).all()):
            raise ValueError(f"AffineScalar: scale={scale!r} must be finite and not 0")
        if not self.shift.is_meta and not bool(self.shift.isfinite().all()):
            raise ValueError(f"AffineScalar: shift={shift!r} must be finite")
        self.parameter_shape = torch.broadcast_shapes(self.shift.shape, self.scale.shape)

    @property
    def sign(self) -> Tensor:  # type: ignore[override]
        return self.scale.detach().sign()

    def invertible(self, dtype: torch.dtype) -> tuple[float, float]:
        end = torch.finfo(dtype).max / max(1.0, float(self.scale.detach().abs().max()))
        return -end, end

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.scale * x + self.shift

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        return (y - self.shift) / self.scale

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y = self.forward(x)
        return y, self.scale.abs().log().expand(y.shape)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self.inverse(y)
        return x, (-self.scale.abs().log()).expand(x.shape)


class Exp(Bijector):
    r"""y = exp(x), elementwise; on a Normal base it makes a LogNormal.

    forward  y = exp(x)    log det  x
    inverse  x = log(y)    log det  -log(y)

    Invertible from -103 to 88.7 in float32 and from -744 to 709.7 in float64: below y underflows to 0, above it
    overflows.
    """

    codomain, sign, parameter_shape = constraints.positive, +1, torch.Size()

    def invertible(self, dtype: torch.dtype) -> tuple[float, float]:
        return (-103.0, 88.7) if dtype == torch.float32 else (-744.0, 709.7)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x.exp(), x

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = y.log()
        return x, -x


class _SymmetricCDF(Bijector):  # F of a variable that is symmetric about 0, so 1 - F(x) is F(-x)
    def complement(self, x: Tensor) -> Tensor:
        return self.forward(-x)

    def inverse_complement(self, y: Tensor) -> Tensor:
        return -self.inverse(y)


class Sigmoid(_SymmetricCDF):
    r"""y = 1 / (1 + exp(-x)), elementwise, from the real line to (0, 1).

    forward  y = sigmoid(x)             log det  -softplus(x) - softplus(-x)
    inverse  x = log(y) - log(1 - y)    log det  softplus(x) + softplus(-x)

    The log det is computed from x: log y (1 - y) would cancel. Invertible from -88.7 to 16.6 in
    float32 and from -709 to 36.7 in float64: below y underflows to 0, above it rounds to 1.
    """

    codomain, sign, parameter_shape = open_interval(0.0, 1.0), +1, torch.Size()

    def invertible(self, dtype: torch.dtype) -> tuple[float, float]:
        return (-88.7, 16.6) if dtype == torch.float32 else (-709.0, 36.7)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return x.sigmoid()

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        return y.log() - (-y).log1p()

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.forward(x), _log_derivative_of_sigmoid(x)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self.inverse(y)
        return x, -_log_derivative_of_sigmoid(x)


def _log_derivative_of_sigmoid(x: Tensor) -> Tensor:
    # logsigmoid(-x) = logsigmoid(x) - x; at -inf this would be -inf + inf.
    x = x.clamp(min=torch.finfo(x.dtype).min)
    return 2 * logsigmoid(x) - x


class Tanh(Bijector):
    r"""y = tanh(x), elementwise, from the real line to (-1, 1).

    forward  y = tanh(x)     log det  2 log 2 - softplus(2x) - softplus(-2x)
    inverse  x = atanh(y)    log det  minus the forward one at x

    The log det is computed from x: log(1 - y^2) would cancel where |y| nears 1. Invertible for |x| up to 8.66 in
    float32 and 18.7 in float64: beyond, y rounds to 1.
    """

    codomain, sign, parameter_shape = open_interval(-1.0, 1.0), +1, torch.Size()

    def invertible(self, dtype: torch.dtype) -> tuple[float, float]:
        end = 8.66 if dtype == torch.float32 else 18.7
        return -end, end

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return x.tanh()

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        return y.atanh()

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.forward(x), _log_derivative_of_tanh(x)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self.inverse(y)
        return x, -_log_derivative_of_tanh(x)


def _log_derivative_of_tanh(x: Tensor) -> Tensor:
    # sech(x)^2 = 4 sigmoid(2x) sigmoid(-2x): smooth at 0, where the form with |x| would have a kink.
    return 2 * math.log(2) + _log_derivative_of_sigmoid(2 * x)


class Softplus(Bijector):
    r"""y = log(1 + exp(x)), elementwise, from the real line to (0, inf).

    forward  y = softplus(x)               log det  -softplus(-x)
    inverse  x = y + log(1 - exp(-y))      log det  -log(1 - exp(-y))

    `logaddexp(x, 0)` is exact everywhere; torch's own softplus is linear above 20. Invertible from
    -103 in float32 and -744 in float64: below, y underflows to 0.
    """

    codomain, sign, parameter_shape = constraints.positive, +1, torch.Size()

    def invertible(self, dtype: torch.dtype) -> tuple[float, float]:
        return -103.0 if dtype == torch.float32 else -744.0, torch.finfo(dtype).max

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return torch.logaddexp(x, x.new_zeros(()))

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.forward(x), logsigmoid(x)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_det = -(-(-y).expm1()).log()
        return y - log_det, log_det


class NormalCDF(_SymmetricCDF):
    r"""y = Phi(x), the distribution function of N(0, 1), elementwise; its inverse turns uniforms into normals.

    forward  y = Phi(x)       log det  -x^2 / 2 - log(2 pi) / 2
    inverse  x = Phi^-1(y)    log det  x^2 / 2 + log(2 pi) / 2

    Phi is computed from the complementary error function, which is accurate in the left tail. Its argument's rounding
    is corrected, so the error is at most 2 units in the last place everywhere. Invertible down to -13.9 in float32 and
    -38.2 in float64, where y underflows, and up to 5.3 and 8.2, where y rounds to 1.

    Example:
        >>> import torch
        >>> from flowlab.bijectors import NormalCDF
        >>> NormalCDF().forward_log_det_jacobian(torch.tensor(2.01))  # the log density of N(0, 1) at 2.01
        tensor(-2.9390)
    """

    codomain, sign, parameter_shape = open_interval(0.0, 1.0), +1, torch.Size()

    def invertible(self, dtype: torch.dtype) -> tuple[float, float]:
        return (-13.9, 5.3) if dtype == torch.float32 else (-38.2, 8.2)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        z = -HALF_SQRT_TWO * x
        # The rounding of z, to first order: far to the left it costs up to x^2 units in the last place.
        return 0.5 * torch.special.erfc(z) - _rounding_error(z, x) * (-z.square()).exp() * (1 / math.sqrt(math.pi))

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.forward(x), -0.5 * x.square() - HALF_LOG_TWO_PI

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = torch.special.ndtri(y)
        return x, 0.5 * x.square() + HALF_LOG_TWO_PI


def _rounding_error(z: Tensor, x: Tensor) -> Tensor:
    """-sqrt(1/2) x - z, where z is that product rounded: x and the root are split into halves with exact products."""
    root, rest, grid = SPLIT[x.dtype]
    first = (grid * x).round() / grid
    return (-((root * first + z) + root * (x - first) + rest * x)).nan_to_num(0.0, 0.0, 0.0)  # at infinity


class ExponentialCDF(Bijector):
    r"""y = 1 - exp(-rate x) for x >= 0, the distribution function of Exponential(rate), elementwise.

    forward  y = 1 - exp(-rate x)       log det  log(rate) - rate x
    inverse  x = -log(1 - y) / rate     log det  rate x - log(rate)

    Arguments:
        rate: a positive number or tensor that broadcasts against x; an `nn.Parameter` is learned.

    Raises:
        ValueError: the rate is not positive and finite.

    Invertible for rate x up to 16.6 in float32 and 36.7 in float64: beyond, y rounds to 1.

    Example:
        >>> import torch
        >>> from flowlab.bijectors import ExponentialCDF
        >>> ExponentialCDF(rate=0.5).inverse(torch.tensor(0.5))  # the median of Exponential(0.5)
        tensor(1.3863)
    """

    domain, codomain, sign = constraints.nonnegative, constraints.half_open_interval(0.0, 1.0), +1
    rate: Tensor

    def __init__(self, rate: float | Tensor | nn.Parameter = 1.0) -> None:
        super().__init__()
        self._register("rate", rate)
        if not self.rate.is_meta and not bool((self.rate.isfinite() & (self.rate > 0)).all()):
            raise ValueError(f"ExponentialCDF: rate={rate!r} must be positive and finite")
        self.parameter_shape = self.rate.shape

    def invertible(self, dtype: torch.dtype) -> tuple[float, float]:
        return 0.0, (16.6 if dtype == torch.float32 else 36.7) / float(self.rate.detach().max())

    def complement(self, x: Tensor) -> Tensor:
        """1 - y, without cancellation."""
        return (-self.rate * x).exp()

    def inverse_complement(self, y: Tensor) -> Tensor:
        return -y.log() / self.rate

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z = self.rate * x
        return -(-z).expm1(), self.rate.log() - z

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z = -(-y).log1p()
        return z / self.rate, z - self.rate.log()
