"""The registry of components: architectures, targets, objectives, optimizers, loggers and metrics.

A component of flowlab is one file in the folder of its group and one registration:

    @register("optimizer", "sgd")
    @dataclass
    class SGD(Optimizer): ...

An installed package registers its components through entry points, whose groups are called like the folders:
`flowlab.optimizers`. Public modules of these folders import torch only when they build something, so a mistake is
answered without it; modules that need torch at import are private (`_name.py`).
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from flowlab.config.component import is_component
from flowlab.config.errors import ConfigError
from flowlab.config.words import did_you_mean

C = TypeVar("C")

# The folder of each group; its entry points have the same name.
PACKAGES = {
    "flow": "flowlab.flows",
    "target": "flowlab.targets",
    "objective": "flowlab.objectives",
    "optimizer": "flowlab.optimizers",
    "logger": "flowlab.loggers",
    "metric": "flowlab.metrics",
}

_registered: dict[str, dict[str, Any]] = {group: {} for group in PACKAGES}


def register(group: str, name: str) -> Callable[[C], C]:
    """Register a component under the name that a configuration gives it.

    Arguments:
        group: one of PACKAGES.
        name: the name in a configuration.

    Raises:
        ValueError: there is no such group, or a different component has the name.
    """
    if group not in PACKAGES:
        raise ValueError(f"register({group!r}, {name!r}): no such group; {did_you_mean(group, list(PACKAGES))}")

    def add(component: C) -> C:
        other = _registered[group].get(name)
        if other is not None and _identity(other) != _identity(component):
            raise ValueError(f"register({group!r}, {name!r}): {_identity(other)} has this name; choose another")
        component.group, component.name = group, name  # type: ignore[attr-defined]
        _registered[group][name] = component
        return component

    return add


def lookup(group: str, name: Any, key: str = "") -> Any:
    """The component with a name: from flowlab, from an installed package, or registered by hand.

    Arguments:
        group, name: see register.
        key: the key that holds the name, for the message.

    Raises:
        ConfigError: there is no such component, or its package cannot be imported.
    """
    if name not in names(group):
        where = key or f"{group}.name"
        raise ConfigError(f"{where}={name!r}: no such {group}; {did_you_mean(str(name), names(group))}")
    if name not in _registered[group]:
        _load(group, _entry_points(group)[name])
    return _registered[group][name]


def names(group: str) -> list[str]:
    """The names of a group's components; no installed package is imported."""
    _import_built_in(group)
    return list(dict.fromkeys([*_registered[group], *_entry_points(group)]))


def added(group: str) -> list[str]:
    """The names of the components from outside flowlab: in installed packages, or registered by hand."""
    by_hand = [name for name, each in _registered[group].items() if not each.__module__.startswith(PACKAGES[group])]
    return list(dict.fromkeys([*_entry_points(group), *by_hand]))


def _load(group: str, entry: EntryPoint) -> None:
    try:
        component = entry.load()
    except Exception as error:  # whatever a package raises when it is imported
        raise ConfigError(
            f"{group}={entry.name}: {entry.value} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if isinstance(component, type) and not is_component(component):
        from flowlab.config.from_class import schema_of_class

        component = schema_of_class(group, component)
    register(group, entry.name)(component)


@cache
def _import_built_in(group: str) -> None:
    """Import the public modules of a group's folder, which register flowlab's components."""
    package = import_module(PACKAGES[group])
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            import_module(f"{package.__name__}.{module.name}")


@cache
def _entry_points(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=PACKAGES[group])}


def _identity(component: Any) -> str:
    return f"{component.__module__}.{component.__qualname__}"
