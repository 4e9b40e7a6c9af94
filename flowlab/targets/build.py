"""The target of a configuration."""

from __future__ import annotations

import dataclasses

from flowlab.schemas import ConfigError, FileConfig, TargetConfig
from flowlab.targets.base import Target
from flowlab.targets.file import FileTarget
from flowlab.targets.gaussian import Banana, Funnel, Gaussian
from flowlab.targets.shapes import Checkerboard, EightGaussians, TwoMoons, Uniform

EXACT = {
    "banana": Banana,
    "gaussian": Gaussian,
    "uniform": Uniform,
    "eight_gaussians": EightGaussians,
    "checkerboard": Checkerboard,
    "two_moons": TwoMoons,
    "funnel": Funnel,
}


def build_target(config: TargetConfig) -> Target:
    """The target that a configuration names.

    Raises:
        ConfigError: numbers that do not fit each other, or a file that cannot be used.
    """
    try:
        if isinstance(config, FileConfig):
            if not config.path:
                raise ConfigError("target.path: must be given: target.path=...")
            return FileTarget(config.path, config.columns, config.validation, config.test, config.split_seed)
        values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
        return EXACT[values.pop("name")](**values)
    except OverflowError:
        raise ConfigError(
            f"target={config.name}: its numbers are too large to be computed with; use smaller ones"
        ) from None
    except ValueError as error:
        raise ConfigError(str(error)) from None
