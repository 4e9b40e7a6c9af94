"""Maps for coupling and autoregressive bijectors: functions of one coordinate with parameters from a network."""

from flowlab.bijectors.maps.affine import Additive, Affine
from flowlab.bijectors.maps.base import Map
from flowlab.bijectors.maps.circular import CircularSpline
from flowlab.bijectors.maps.elementwise import Elementwise
from flowlab.bijectors.maps.monotone import Monotone
from flowlab.bijectors.maps.spline import Spline

__all__ = ["Additive", "Affine", "CircularSpline", "Elementwise", "Map", "Monotone", "Spline"]
