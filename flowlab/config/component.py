"""Components: the parts of a configuration, as dataclasses whose fields are its keys."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar


class Component:
    """A dataclass whose fields are the keys of a configuration node, and which builds the object that they describe.

    Attributes:
        group, name: the names under which the component is registered.
    """

    group: ClassVar[str] = ""
    name: ClassVar[str] = ""

    def build(self, *given: Any, **named: Any) -> Any:
        """The object that the configuration describes; by default the component itself."""
        return self

    def with_absolute_paths(self) -> Component:
        """A copy whose files are found from any working directory."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """The node of the configuration, as plain values."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return {"name": self.name} | {item.name: getattr(self, item.name) for item in fields if item.init}


def per_job_fields(component: type) -> list[str]:
    """The names of the settings in which jobs of one stack may differ."""
    return [item.name for item in dataclasses.fields(component) if item.metadata.get("per_job")]


def is_component(cls: type) -> bool:
    """Whether a class is a component and a dataclass itself, so its fields are all of its settings."""
    return issubclass(cls, Component) and "__dataclass_fields__" in vars(cls)
