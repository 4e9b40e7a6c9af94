"""Conditioners: networks that give the parameters of a map from the coordinates that are known and a context."""

from flowlab.networks.masked import MaskedMLP
from flowlab.networks.mlp import MLP

__all__ = ["MLP", "MaskedMLP"]
