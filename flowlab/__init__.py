"""flowlab: a reproducible experiment suite for normalizing flows.

Every name here is imported on first use: `import flowlab` costs nothing, and the parts that need only torch never load
Lightning, Hydra or matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowlab import bijectors as bijectors
    from flowlab import claims as claims
    from flowlab import datasets as datasets
    from flowlab import distributions as distributions
    from flowlab import flows as flows
    from flowlab import objectives as objectives
    from flowlab import optimizers as optimizers
    from flowlab import targets as targets
    from flowlab.config.compose import compose as compose
    from flowlab.config.errors import ConfigError as ConfigError
    from flowlab.config.registry import register as register
    from flowlab.config.security import allow as allow
    from flowlab.density.fit import fit as fit
    from flowlab.diagnostics.diagnose import diagnose as diagnose
    from flowlab.distributions.base import StandardNormal as StandardNormal
    from flowlab.flow import Flow as Flow
    from flowlab.runs.directory import Run as Run
    from flowlab.runs.directory import load_run as load_run
    from flowlab.sweeps.table import load_sweep as load_sweep
    from flowlab.sweeps.train_many import train_many as train_many
    from flowlab.training.lightning import FlowModule as FlowModule
    from flowlab.training.resume import resume as resume
    from flowlab.training.train import train as train

__version__ = "0.1.0"

_HOME = {
    "allow": "flowlab.config.security",
    "StandardNormal": "flowlab.distributions.base",
    "ConfigError": "flowlab.config.errors",
    "FlowModule": "flowlab.training.lightning",
    "diagnose": "flowlab.diagnostics.diagnose",
    "fit": "flowlab.density.fit",
    "register": "flowlab.config.registry",
    "compose": "flowlab.config.compose",
    "Flow": "flowlab.flow",
    "Run": "flowlab.runs.directory",
    "load_sweep": "flowlab.sweeps.table",
    "train_many": "flowlab.sweeps.train_many",
    "load_run": "flowlab.runs.directory",
    "resume": "flowlab.training.resume",
    "train": "flowlab.training.train",
}
_MODULES = (
    "bijectors",
    "claims",
    "datasets",
    "distributions",
    "flows",
    "objectives",
    "optimizers",
    "targets",
    "plotting",
)

__all__ = ["__version__", *_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"flowlab.{name}")
    if name in _HOME:
        return globals().setdefault(name, getattr(import_module(_HOME[name]), name))
    raise AttributeError(f"module 'flowlab' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
