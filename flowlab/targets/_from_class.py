"""A target of a user's class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flowlab.config.errors import ConfigError
from flowlab.config.from_class import FromClass
from flowlab.targets.base import Target


@dataclass(kw_only=True)
class TargetFromClass(FromClass):
    """A target of a user's class, a Target."""

    @staticmethod
    def kinds() -> tuple[type, ...]:
        return (Target,)

    def build(self, **given: Any) -> Target:
        """Build the target; random numbers that its constructor draws are the same in every run.

        Raises:
            ConfigError: the target cannot be built, or has no shape or bounds.
        """
        from flowlab.seeding import generator, torch_seeded

        with torch_seeded(generator(0, "target")):
            target: Target = super().build()
        shape = getattr(target, "event_shape", None)
        if not isinstance(shape, tuple) or not all(type(size) is int and size > 0 for size in shape):
            dim = shape[0] if isinstance(shape, tuple) and len(shape) == 1 else shape
            raise ConfigError(f"{self.where()}: dim={dim!r}: must be the number of coordinates of a point")
        if len(getattr(target, "bounds", ())) != target.dim:
            raise ConfigError(
                f"{self.where()}: bounds: must be an interval for each of the {target.dim} coordinates, to draw "
                f"figures in, such as bounds = ((-3.0, 3.0),) * {target.dim}"
            )
        return target
