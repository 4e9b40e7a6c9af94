"""Invertible maps that know their log determinant. They need torch alone."""

from flowlab.bijectors.affine import LowRankAffine, fill_triangular, pack_triangular
from flowlab.bijectors.base import Bijector, Chain, Invert, NoInverseError, stages
from flowlab.bijectors.cdf import ExponentialCDF, NormalCDF
from flowlab.bijectors.inline import Inline
from flowlab.bijectors.prelu import PReLU, SmoothPReLU
from flowlab.bijectors.scalar import AffineScalar, Exp, Sigmoid, Softplus, Tanh
from flowlab.bijectors.torch_transforms import from_transform, to_transform

__all__ = [
    "AffineScalar",
    "Bijector",
    "Chain",
    "Exp",
    "ExponentialCDF",
    "Inline",
    "Invert",
    "LowRankAffine",
    "NoInverseError",
    "NormalCDF",
    "PReLU",
    "Sigmoid",
    "SmoothPReLU",
    "Softplus",
    "Tanh",
    "fill_triangular",
    "from_transform",
    "pack_triangular",
    "stages",
    "to_transform",
]
