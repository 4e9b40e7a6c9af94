"""flowlab: a reproducible experiment suite for normalizing flows.

What is named here is imported when it is first used, so that `import flowlab` costs nothing and the parts that need
only torch never load Lightning, Hydra or matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowlab import bijectors as bijectors
    from flowlab import claims as claims
    from flowlab import distributions as distributions
    from flowlab import targets as targets
    from flowlab.allowed import allow as allow
    from flowlab.bases import StandardNormal as StandardNormal
    from flowlab.config import compose as compose
    from flowlab.flow import Flow as Flow
    from flowlab.schemas import ConfigError as ConfigError
    from flowlab.sweeps.table import load_sweep as load_sweep
    from flowlab.sweeps.train import train_many as train_many
    from flowlab.training.directory import Run as Run
    from flowlab.training.directory import load_run as load_run
    from flowlab.training.run import resume as resume
    from flowlab.training.run import train as train

__version__ = "0.1.0"

_HOME = {
    "allow": "flowlab.allowed",
    "StandardNormal": "flowlab.bases",
    "ConfigError": "flowlab.schemas",
    "compose": "flowlab.config",
    "Flow": "flowlab.flow",
    "Run": "flowlab.training.directory",
    "load_sweep": "flowlab.sweeps.table",
    "train_many": "flowlab.sweeps.train",
    "load_run": "flowlab.training.directory",
    "resume": "flowlab.training.run",
    "train": "flowlab.training.run",
}
_MODULES = ("bijectors", "claims", "distributions", "targets", "plotting")

__all__ = ["__version__", *_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in _MODULES:
        return import_module(f"flowlab.{name}")
    raise AttributeError(f"module 'flowlab' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
