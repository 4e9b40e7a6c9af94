"""Named distributions, each a base under bijectors of the library."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Exponential, Normal

from flowlab.bijectors import AffineScalar, Bijector, Exp, SoftmaxCentered
from flowlab.distributions.base import GumbelDifferences

if TYPE_CHECKING:
    from flowlab.flow import Flow

Number = float | Tensor | nn.Parameter


def LogNormal(loc: Number = 0.0, scale: Number = 1.0) -> Flow:
    """exp(loc + scale z) with z from N(0, 1), on (0, inf): a Normal under exp.

    Arguments:
        loc, scale: mean and standard deviation of the log; they broadcast to the batch shape. A number or a plain
            tensor is a constant; an `nn.Parameter` is learned.

    Raises:
        ValueError: the scale is not positive and finite.

    Example:
        >>> import torch
        >>> from flowlab.distributions import LogNormal
        >>> LogNormal(0.0, 1.0).log_prob(torch.tensor(1.0))
        tensor(-0.9189)
    """
    ones = torch.ones(_batch_shape("LogNormal", loc, scale))
    return _flow(Normal(torch.zeros_like(ones), ones), AffineScalar(loc, scale) | Exp())


def Gumbel(loc: Number = 0.0, scale: Number = 1.0) -> Flow:
    """loc - scale log(e) with e from Exponential(1), on the real line: the limit distribution of a maximum.

    It is -log followed by an affine map. The table of the tutorial below has log(x), which gives the negated Gumbel.

    Arguments:
        loc, scale: location and scale; they broadcast to the batch shape. A number or a plain tensor is a constant; an
            `nn.Parameter` is learned.

    Raises:
        ValueError: the scale is not positive and finite.

    Reference:
        | Normalizing Flows Tutorial, Part 1: Distributions and Determinants (Eric Jang, 2018)
        | https://blog.evjang.com/2018/01/nf1.html

    Example:
        >>> import torch
        >>> from flowlab.distributions import Gumbel
        >>> Gumbel(0.0, 1.0).log_prob(torch.tensor(0.0))
        tensor(-1.)
    """
    ones = torch.ones(_batch_shape("Gumbel", loc, scale))
    return _flow(Exponential(ones), Exp().inv | AffineScalar(scale=-1.0) | AffineScalar(loc, scale))


def GumbelSoftmax(temperature: Number, logits: Tensor | nn.Parameter) -> Flow:
    """softmax((logits + g) / temperature) with g_k from Gumbel(0, 1): the Concrete distribution on the open simplex.

    The base is the K - 1 differences to the last class, followed by a division by the temperature and SoftmaxCentered.
    Densities are with respect to the first K - 1 probabilities, as in torch's RelaxedOneHotCategorical.

    Arguments:
        temperature: positive; towards 0 the samples approach the corners of the simplex.
        logits: unnormalized log probabilities of the K >= 2 classes, of shape (*, K).

        A number or a plain tensor is a constant; an `nn.Parameter` is learned.

    Raises:
        ValueError: the temperature is not one positive finite number, or there are fewer than 2 classes.

    Reference:
        | The Concrete Distribution: A Continuous Relaxation of Discrete Random Variables
        | (Chris J. Maddison, Andriy Mnih, Yee Whye Teh, 2017)
        | https://arxiv.org/abs/1611.00712

    Example:
        >>> import torch
        >>> from flowlab.distributions import GumbelSoftmax
        >>> flow = GumbelSoftmax(0.5, logits=torch.zeros(3))
        >>> flow.sample((4,)).sum(-1).round(decimals=4), flow.distribution().event_shape
        (tensor([1., 1., 1., 1.]), torch.Size([3]))
    """
    _require_positive("GumbelSoftmax", "temperature", temperature)
    if torch.as_tensor(temperature).shape != ():
        raise ValueError(f"GumbelSoftmax: temperature={temperature!r} must be one number")
    return _flow(GumbelDifferences(logits), AffineScalar(scale=temperature).inv | SoftmaxCentered())


def _flow(base: Distribution, bijector: Bijector) -> Flow:
    from flowlab.flow import Flow  # it imports this package

    return Flow(base, bijector)


def _batch_shape(name: str, loc: Number, scale: Number) -> torch.Size:
    """The shape that location and scale broadcast to; checks the scale."""
    _require_positive(name, "scale", scale)
    return torch.broadcast_shapes(torch.as_tensor(loc).shape, torch.as_tensor(scale).shape)


def _require_positive(name: str, argument: str, value: Number) -> None:
    tensor = torch.as_tensor(value)
    if not bool(((tensor > 0) & (tensor < math.inf)).all()):
        raise ValueError(f"{name}: {argument}={value!r} must be positive and finite")
