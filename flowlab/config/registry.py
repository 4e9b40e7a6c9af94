"""The registry of components: architectures, targets, objectives, optimizers, loggers, metrics, maps and tasks.

A component of flowlab is one file in the folder of its group and one registration:

    @register("optimizer", "sgd")
    @dataclass
    class SGD(Optimizer): ...

An installed package registers its components through entry points, whose groups are called like the folders:
`flowlab.optimizers`. A flow, target or logger may also be a plain class; the parameters of its constructor are then the
keys, as for `flow=custom flow._target_=package.Class +flow.KEY=VALUE`.

Public modules of these folders import torch only when they build something, so a mistake is answered without it.
Modules that need torch at import are private (`_name.py`).
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from flowlab.config.component import Component
from flowlab.config.directories import conf_directories
from flowlab.config.directories import conf_directory as conf_directory
from flowlab.config.errors import ConfigError, did_you_mean
from flowlab.config.from_class import identity, schema_of_class, schema_of_path

C = TypeVar("C")

# The folder of each group; its entry points have the same name.
PACKAGES = {
    "flow": "flowlab.flows",
    "target": "flowlab.targets",
    "objective": "flowlab.objectives",
    "optimizer": "flowlab.optimizers",
    "logger": "flowlab.loggers",
    "metric": "flowlab.metrics",
    "map": "flowlab.flows.maps",
    "task": "flowlab.targets.tasks",
}
CHOOSING = {"experiment", "sweep"}  # groups whose options choose the options of other groups

_registered: dict[str, dict[str, Any]] = {group: {} for group in PACKAGES}


def register(group: str, name: str) -> Callable[[C], C]:
    """Register a component under the name that a configuration gives it.

    Arguments:
        group: one of PACKAGES.
        name: the name in a configuration.

    A flow, target or logger may also be a plain class, whose constructor's parameters are then the keys.

    Raises:
        ValueError: there is no such group, or a different component or option has the name.
        ConfigError: a class is not of a kind that its group takes.
    """
    if group not in PACKAGES:
        raise ValueError(f"register({group!r}, {name!r}): no such group; {did_you_mean(group, list(PACKAGES))}")

    def add(given: C) -> C:
        is_plain = isinstance(given, type) and "__dataclass_fields__" not in vars(given)
        component: Any = schema_of_class(group, given) if is_plain else given
        if isinstance(component, type) and not issubclass(component, Component):
            raise ConfigError(
                f"{identity(given)}: is a dataclass, and must be derived from {_interface(group)} to be a {group}"
            )
        other = _registered[group].get(name)
        if other is not None and identity(other) != identity(component):
            raise ValueError(f"register({group!r}, {name!r}): {identity(other)} has this name; choose another")
        is_own = identity(component).startswith("flowlab.")
        if not is_own and (conf_directory() / group / f"{name}.yaml").is_file():
            raise ValueError(f"register({group!r}, {name!r}): flowlab has {group}={name} already; choose another name")
        component.group, component.name = group, name
        _registered[group][name] = component
        return given

    return add


def _interface(group: str) -> str:
    """The class from which flowlab's own components of a group are derived."""
    _import_built_in(group)
    bases = reversed(next(iter(_registered[group].values())).__mro__)
    return identity(next(base for base in bases if issubclass(base, Component) and base is not Component))


def lookup(group: str, name: Any, key: str = "") -> Any:
    """The component with a name: from flowlab, from an installed package, or registered by hand.

    Raise ConfigError, about `key`, if the name is not registered or its package cannot be imported.
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
    by_hand = [name for name, each in _registered[group].items() if not identity(each).startswith(PACKAGES[group])]
    return list(dict.fromkeys([*_entry_points(group), *by_hand]))


def add_suitable_options(words: Sequence[str]) -> list[str]:
    """Add words for the options that suit the chosen target, in groups that no word chooses.

    Example:
        >>> from flowlab.config.registry import add_suitable_options
        >>> add_suitable_options(["target=dataset", "optimizer=sgd"])
        ['target=dataset', 'optimizer=sgd', 'flow=tabular']
    """
    chosen = dict(word.lstrip("+").partition("=")[::2] for word in words)
    if "target" not in chosen or CHOOSING & set(chosen):
        return list(words)
    try:
        suitable = lookup("target", chosen["target"], "target").options
    except ConfigError:  # an unknown option, or several; its reader says so among all words
        return list(words)
    return [*words, *(f"{group}={option}" for group, option in suitable.items() if group not in chosen)]


def option_names(group: str) -> list[str]:
    """The options of a group: those with a YAML file, and those that code outside flowlab adds."""
    own = sorted(path.stem for directory in conf_directories() for path in (directory / group).glob("*.yaml"))
    return [*own, *(name for name in (added(group) if group in PACKAGES else []) if name not in own)]


def _load(group: str, entry: EntryPoint) -> None:
    try:
        component = entry.load()
    except Exception as error:  # an import may raise anything
        raise ConfigError(
            f"{group}={entry.name}: {entry.value} cannot be imported: {type(error).__name__}: {error}"
        ) from error
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


def find_component(group: str, node: Any, where: str) -> tuple[Any, dict[str, Any]]:
    """The component that a node of the configuration names by `name` or `_target_`, and its keys in the node."""
    if not isinstance(node, dict):
        raise not_an_option(group, node)
    keys = {key: value for key, value in node.items() if key != "name"}
    if "_target_" not in node or node.get("name") in names(group):  # a component may have such a key itself
        return lookup(group, node.get("name"), f"{where}.name"), keys
    return schema_of_path(group, node["_target_"]), keys


def not_an_option(group: str, node: Any) -> ConfigError:
    """The error for a node that is no option of its group."""
    return ConfigError(f"{group}={node!r}: must be an option of the group {group}: {', '.join(option_names(group))}")
