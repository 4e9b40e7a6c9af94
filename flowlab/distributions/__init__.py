"""Distributions: bases as modules, and named distributions, each a base under bijectors of the library."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowlab.distributions.base import Base as Base
    from flowlab.distributions.base import GumbelDifferences as GumbelDifferences
    from flowlab.distributions.base import StandardNormal as StandardNormal
    from flowlab.distributions.named import Gumbel as Gumbel
    from flowlab.distributions.named import GumbelSoftmax as GumbelSoftmax
    from flowlab.distributions.named import LogNormal as LogNormal

_HOME = {
    "Base": "base",
    "GumbelDifferences": "base",
    "StandardNormal": "base",
    "Gumbel": "named",
    "GumbelSoftmax": "named",
    "LogNormal": "named",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    # Imported on first use: Flow imports the bases, and the named distributions import Flow.
    if name in _HOME:
        return globals().setdefault(name, getattr(import_module(f"flowlab.distributions.{_HOME[name]}"), name))
    raise AttributeError(f"module 'flowlab.distributions' has no attribute {name!r}; it has {', '.join(__all__)}")
