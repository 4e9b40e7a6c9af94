"""Values and log dets against 50-digit arithmetic on the whole invertible interval, with errors in ulps."""

import math

import mpmath
import numpy as np
import pytest
import torch

from flowlab.bijectors import Exp, ExponentialCDF, NormalCDF, Sigmoid, SmoothPReLU, Softplus, Tanh

DIGITS = 50
SLOPE, RATE = 0.25, 0.5  # exact in both precisions
FARTHEST = 1e4  # the largest point where a bijector is invertible everywhere
HALF = mpmath.mpf(0.5)


def smooth_prelu():
    bijector = SmoothPReLU(positive="abs").double()
    with torch.no_grad():
        bijector.raw_slope.fill_(0.24)  # slope = raw_slope + 0.01, to half an ulp
    return bijector


def softplus(x):
    return mpmath.log1p(mpmath.exp(x))


def normal_quantile(y):
    """Newton's method on log Phi from a value with 16 correct digits."""
    x = mpmath.mpf(float(torch.special.ndtri(torch.tensor(float(y), dtype=torch.float64))))
    for _ in range(2):
        density = mpmath.exp(-(x**2) / 2) / mpmath.sqrt(2 * mpmath.pi)
        x -= (mpmath.log(mpmath.ncdf(x)) - mpmath.log(y)) * mpmath.ncdf(x) / density
    return x


# name -> (the bijector, its value, its log det, its inverse)
EXACT = {
    "Exp": (Exp, mpmath.exp, lambda x: x, mpmath.log),
    "Sigmoid": (
        Sigmoid,
        lambda x: 1 / (1 + mpmath.exp(-x)),
        lambda x: -softplus(x) - softplus(-x),
        lambda y: mpmath.log(y) - mpmath.log1p(-y),
    ),
    "Tanh": (Tanh, mpmath.tanh, lambda x: -2 * mpmath.log(mpmath.cosh(x)), mpmath.atanh),
    "Softplus": (Softplus, softplus, lambda x: -softplus(-x), lambda y: y + mpmath.log(-mpmath.expm1(-y))),
    "NormalCDF": (
        NormalCDF,
        mpmath.ncdf,
        lambda x: -(x**2) / 2 - mpmath.log(2 * mpmath.pi) / 2,
        normal_quantile,
    ),
    "ExponentialCDF": (
        lambda: ExponentialCDF(RATE),
        lambda x: -mpmath.expm1(-RATE * x),
        lambda x: mpmath.log(RATE) - RATE * x,
        lambda y: -mpmath.log1p(-y) / RATE,
    ),
    "SmoothPReLU": (
        smooth_prelu,
        lambda x: HALF * ((1 + SLOPE) * x + (1 - SLOPE) * mpmath.sqrt(x**2 + 1)),
        lambda x: mpmath.log(HALF * ((1 + SLOPE) + (1 - SLOPE) * x / mpmath.sqrt(x**2 + 1))),
        lambda y: HALF * ((1 + SLOPE) * y - (1 - SLOPE) * mpmath.sqrt(y**2 + SLOPE)) / SLOPE,
    ),
}

# Documented errors of (value, log det, inverse) in ulps, for both precisions. A log det or inverse below 1 counts in
# ulps of 1, because it is added to values of that size.
ULPS = {
    "Exp": (1, 1, 1),
    "Sigmoid": (2, 2, 2),
    "Tanh": (1, 3, 2),
    "Softplus": (2, 1, 2),
    "NormalCDF": (2, 2, 4),
    "ExponentialCDF": (1, 1, 1),
    "SmoothPReLU": (8, 3, 8),  # reached only near the zero of the value
}
QUANTITIES = ("value", "log det", "inverse")


def points(bijector, dtype):
    """Return points that cover the whole interval, and points down to 1e-30 on both sides of 0."""
    low, high = np.clip(bijector.invertible(dtype), -FARTHEST, FARTHEST)
    near = np.geomspace(1e-30, FARTHEST, 120)
    spread = np.concatenate([np.linspace(low, high, 240), near, -near])
    x = torch.tensor(spread[(spread >= low) & (spread <= high)]).to(dtype)
    return x[(x >= low) & (x <= high)]


def largest_error(values, exact, dtype, floor):
    """Return the largest error, in ulps of the exact number or of `floor`, whichever is larger."""
    info = torch.finfo(dtype)
    errors = []
    for value, number in zip(values.tolist(), exact, strict=True):
        size = max(abs(number), mpmath.mpf(floor), mpmath.mpf(info.smallest_normal))
        ulp = mpmath.ldexp(info.eps, int(mpmath.floor(mpmath.log(size, 2))))
        errors.append(float(abs(mpmath.mpf(value) - number) / ulp))
    return max(errors, key=lambda error: math.inf if math.isnan(error) else error)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("name", EXACT)
def test_error_in_ulps_is_within_documented_bound(name, quantity, precision, record_property):
    make, *exact = EXACT[name]
    dtype, place = getattr(torch, precision), QUANTITIES.index(quantity)
    bijector = make().to(dtype)
    x = points(bijector, dtype)
    with torch.no_grad():
        y, log_dets = bijector.forward_and_log_det(x)
        if quantity == "inverse":
            x = y[bijector.codomain.check(y)]
            values = bijector.inverse(x)
        else:
            values = (y, log_dets)[place]
    with mpmath.workdps(DIGITS):
        numbers = [exact[place](mpmath.mpf(number)) for number in x.tolist()]
        error = largest_error(values, numbers, dtype, floor=0 if quantity == "value" else 1)
    record_property("tail", (f"{name} {quantity}", precision, ULPS[name][place], error))
    assert error <= ULPS[name][place]
