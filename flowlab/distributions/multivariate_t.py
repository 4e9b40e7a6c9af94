"""Student's t distribution of a vector, whose coordinates have far values together."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.constraints import Constraint

NORMAL = 1e8  # degrees of freedom of a normal distribution, up to rounding


class MultivariateT(Distribution):
    r"""The vector x = z / sqrt(w / v) with z from N(0, I_d) and w from a chi-squared distribution of v degrees.

    log p(x) = log G((v + d) / 2) - log G(v / 2) - (d / 2) log(pi v) - ((v + d) / 2) log(1 + |x|^2 / v) in nats, G the
    gamma function. The density depends on |x| alone. From 10^8 degrees on it is a standard normal up to rounding.

    Arguments:
        degrees: v, a number above 0 as a tensor of shape ().
        dim: d, the length of x.

    Raises:
        ValueError: the degrees are not one positive number, or dim is below 1.

    Reference:
        | Robust Statistical Modeling Using the t Distribution (Kenneth Lange, Roderick Little, Jeremy Taylor, 1989)
        | https://doi.org/10.1080/01621459.1989.10478852

    Example:
        >>> import torch
        >>> from flowlab.distributions.multivariate_t import MultivariateT
        >>> MultivariateT(torch.tensor(1.0), 1).log_prob(torch.zeros(1)).exp()  # 1 / pi, as for a Cauchy distribution
        tensor(0.3183)
    """

    arg_constraints: dict[str, Constraint] = {"degrees": constraints.positive}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, degrees: Tensor, dim: int, validate_args: bool | None = None) -> None:
        if degrees.shape != () or not (degrees.is_meta or bool(degrees > 0)):
            raise ValueError(f"MultivariateT: degrees={degrees!r} must be one number above 0")
        if dim < 1:
            raise ValueError(f"MultivariateT: dim={dim!r} must be at least 1")
        self.degrees = degrees
        # torch reads the values of parameters that it validates; they are checked above.
        super().__init__(torch.Size(), torch.Size([dim]), False if degrees.is_meta else validate_args)

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        normal = torch.randn(*sample_shape, *self.event_shape, dtype=self.degrees.dtype, device=self.degrees.device)
        half = (self.degrees / 2).expand(*sample_shape, 1)
        return normal * (torch._standard_gamma(half) / half).rsqrt()

    def log_prob(self, value: Tensor) -> Tensor:
        degrees, (dim,) = self.degrees, self.event_shape
        half = degrees.double() / 2  # the two log gammas nearly cancel
        constant = torch.lgamma(half + dim / 2) - torch.lgamma(half) - dim / 2 * (2 * math.pi * half).log()
        return constant.to(value.dtype) - (degrees + dim) / 2 * (value.square().sum(-1) / degrees).log1p()
