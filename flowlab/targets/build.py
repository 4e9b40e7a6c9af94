"""The target of a configuration."""

from __future__ import annotations

import dataclasses

from flowlab.config.custom import construct
from flowlab.config.schemas import ConfigError, CustomConfig, FileConfig, TargetConfig
from flowlab.seeding import generator, torch_seeded
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


def build_target(config: TargetConfig | CustomConfig) -> Target:
    """The target that a configuration names.

    Raises:
        ConfigError: numbers that do not fit each other, or a file that cannot be used.
    """
    if isinstance(config, CustomConfig):
        return _custom(config)
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


def _custom(config: CustomConfig) -> Target:
    """A target of a class of the user's own; what it draws when it is made is the same in every run."""
    with torch_seeded(generator(0, "target")):
        target: Target = construct(config)
    where = f"target._target_={config._target_}"
    dim = getattr(target, "dim", None)
    if type(dim) is not int or dim < 1:
        raise ConfigError(f"{where}: dim={dim!r}: must be the number of coordinates of a point")
    if len(getattr(target, "bounds", ())) != dim:
        raise ConfigError(f"{where}: bounds: must be an interval for each of the {dim} coordinates, to draw figures in")
    return target
