"""Maps for coupling and autoregressive bijectors: functions of one coordinate with parameters from a network."""

from flowlab.bijectors.maps.affine import Additive, Affine
from flowlab.bijectors.maps.base import Map
from flowlab.bijectors.maps.spline import Spline

__all__ = ["Additive", "Affine", "Map", "Spline"]
