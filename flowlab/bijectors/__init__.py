"""Invertible maps that know their log determinant. They depend on torch alone.

The names below are imported at once; a public class of any other module of the folder is found by its name.
"""

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING, Any

from flowlab.bijectors.activations import PReLU, SmoothPReLU
from flowlab.bijectors.amortized import Amortized
from flowlab.bijectors.autoregressive import MaskedAutoregressive
from flowlab.bijectors.base import Bijector, NoInverseError
from flowlab.bijectors.blocks import Blocks
from flowlab.bijectors.compose import Chain, Invert, stages
from flowlab.bijectors.coupling import Coupling
from flowlab.bijectors.elementwise import AffineScalar, Exp, ExponentialCDF, NormalCDF, Sigmoid, Softplus, Tanh
from flowlab.bijectors.inline import Inline
from flowlab.bijectors.linear.act_norm import ActNorm
from flowlab.bijectors.linear.context_shift import ContextShift
from flowlab.bijectors.linear.fixed import DiscreteCosineTransform, FillTriangular
from flowlab.bijectors.linear.householder import Householder
from flowlab.bijectors.linear.low_rank_affine import LowRankAffine, fill_triangular
from flowlab.bijectors.linear.lu import LU
from flowlab.bijectors.linear.packed import pack_triangular
from flowlab.bijectors.linear.permute import Permute
from flowlab.bijectors.planar_radial import Planar, Radial
from flowlab.bijectors.shapes import broadcast_context
from flowlab.bijectors.simplex import SoftmaxCentered
from flowlab.bijectors.torch_adapters import from_transform, to_transform

__all__ = [
    "LU",
    "ActNorm",
    "AffineScalar",
    "Amortized",
    "Bijector",
    "Blocks",
    "Chain",
    "ContextShift",
    "Coupling",
    "DiscreteCosineTransform",
    "Exp",
    "ExponentialCDF",
    "FillTriangular",
    "Householder",
    "Inline",
    "Invert",
    "LowRankAffine",
    "MaskedAutoregressive",
    "NoInverseError",
    "NormalCDF",
    "PReLU",
    "Permute",
    "Planar",
    "Radial",
    "Sigmoid",
    "SmoothPReLU",
    "SoftmaxCentered",
    "Softplus",
    "Tanh",
    "broadcast_context",
    "fill_triangular",
    "from_transform",
    "pack_triangular",
    "stages",
    "to_transform",
]

if not TYPE_CHECKING:  # a type checker keeps to the names above

    def __getattr__(name: str) -> Any:
        for module in pkgutil.iter_modules(__path__, f"{__name__}."):
            found = getattr(import_module(module.name), name, None) if name[:1].isupper() else None
            if getattr(found, "__module__", None) == module.name:
                return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
