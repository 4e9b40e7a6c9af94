"""The registry of components: architectures, targets, objectives, optimizers, loggers, metrics, maps and tasks.

A component of flowlab is one file in the folder of its group and one registration:

    @register("optimizer", "sgd")
    @dataclass
    class SGD(Optimizer): ...

An installed package registers its components through entry points, whose groups are called like the folders:
`flowlab.optimizers`. A flow, target or logger may also be a plain class; the parameters of its constructor are then the
keys, as for `flow=custom flow._target_=package.Class +flow.KEY=VALUE`.

Public modules of these folders import torch only when they build something, so a mistake is answered without it;
modules that need torch at import are private (`_name.py`).
"""

from __future__ import annotations

import dataclasses
import inspect
import pkgutil
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, TypeVar

from flowlab.config.component import WORDS, Component, name_type
from flowlab.config.directories import conf_directories
from flowlab.config.directories import conf_directory as conf_directory
from flowlab.config.errors import ConfigError, did_you_mean

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
# The module and class that turn a constructor's object into one of the group; classes of other groups are dataclasses.
BASES = {
    "flow": ("flowlab.flows.base", "FlowFromClass"),
    "target": ("flowlab.targets._from_class", "TargetFromClass"),
    "logger": ("flowlab.loggers.base", "LoggerFromClass"),
}
CHOOSING = {"experiment", "sweep"}  # groups whose options choose the options of other groups
TAKEN = ("name", "group", "_target_")  # keys of every component; a parameter of such a name keeps its default

_registered: dict[str, dict[str, Any]] = {group: {} for group in PACKAGES}


def register(group: str, name: str) -> Callable[[C], C]:
    """Register a component under the name that a configuration gives it.

    Arguments:
        group: one of PACKAGES.
        name: the name in a configuration.

    A flow, target or logger may also be a plain class, whose constructor's parameters are then the keys.

    Raises:
        ValueError: there is no such group, or a different component has the name.
        ConfigError: a class is neither a dataclass nor of a kind that its group takes.
    """
    if group not in PACKAGES:
        raise ValueError(f"register({group!r}, {name!r}): no such group; {did_you_mean(group, list(PACKAGES))}")

    def add(given: C) -> C:
        is_plain = isinstance(given, type) and "__dataclass_fields__" not in vars(given)
        component: Any = schema_of_class(group, given) if is_plain else given
        other = _registered[group].get(name)
        if other is not None and _identity(other) != _identity(component):
            raise ValueError(f"register({group!r}, {name!r}): {_identity(other)} has this name; choose another")
        component.group, component.name = group, name
        _registered[group][name] = component
        return given

    return add


def _identity(component: Any) -> str:
    return f"{component.__module__}.{component.__qualname__}"


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
    by_hand = [name for name, each in _registered[group].items() if not each.__module__.startswith(PACKAGES[group])]
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


@dataclasses.dataclass(kw_only=True)
class FromClass(Component):
    """A component derived from a class.

    Attributes:
        made_from: the class.
        given: the constructor's parameters that flowlab passes, so they are no keys.
    """

    made_from: ClassVar[type]
    given: ClassVar[tuple[str, ...]] = ()

    @staticmethod
    def kinds() -> tuple[type, ...]:
        """The base classes of which the class must have one."""
        return (object,)

    def build(self, *args: Any, **given: Any) -> Any:
        """Build an object of the class; raise ConfigError if its constructor fails."""
        takes = inspect.signature(self.made_from).parameters
        keys = {item.name: getattr(self, item.name) for item in dataclasses.fields(self) if item.name != "_target_"}
        try:
            return self.made_from(**keys, **{name: value for name, value in given.items() if name in takes})
        except Exception as error:  # a user's class may raise anything
            raise ConfigError(f"{self.where()}: cannot be built: {type(error).__name__}: {error}") from error

    def where(self) -> str:
        """The key that names the class, for messages."""
        path = getattr(self, "_target_", None)
        return f"{self.group}._target_={path}" if path else f"{self.group}={self.name}"

    def __reduce__(self) -> Any:  # the dataclass is made at run time, so pickle cannot find it by its name
        keys = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return _restore, (self.group, self.name, self.made_from, "_target_" in keys, keys)


def _restore(group: str, name: str, cls: Any, by_path: bool, keys: dict[str, Any]) -> FromClass:
    schema = _schema(group, cls, by_path)
    schema.name = name
    return schema(**keys)


def schema_of_path(group: str, path: Any) -> type[FromClass]:
    """The component of a class with a dotted name; errors as in `load_class`."""
    from flowlab.config.load import load_class  # not where targets alone are used: it needs OmegaConf
    from flowlab.config.security import check_name

    where = f"{group}._target_"
    if path in (None, "???"):
        raise ConfigError(f"{where}: must be given: {where}=package.Class")
    check_name(where, path)
    cls: Any = load_class(where, path, _base(group).kinds())
    return _schema(group, cls, True)


def schema_of_class(group: str, cls: Any) -> type[FromClass]:
    """The component of a class that an installed package registers."""
    if group not in BASES:
        raise ConfigError(
            f"{_identity(cls)}: must be a dataclass to be an option of the group {group}; "
            "put @dataclass before the class"
        )
    kinds = _base(group).kinds()
    if not issubclass(cls, kinds):
        raise ConfigError(
            f"{_identity(cls)}: must be derived from {' or '.join(map(_identity, kinds))} to be a {group}; a component "
            "needs @dataclass before its class"
        )
    return _schema(group, cls, False)


def _base(group: str) -> type[FromClass]:
    module, name = BASES[group]
    return getattr(import_module(module), name)


@lru_cache(maxsize=64)
def _schema(group: str, cls: type, by_path: bool) -> type[FromClass]:
    """Make a dataclass of a constructor's parameters; annotations of known types are checked."""
    base = _base(group)
    fields: list[tuple[str, Any, Any]] = [("_target_", "str", dataclasses.field())] if by_path else []
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.name in base.given or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name in TAKEN and parameter.default is not parameter.empty:
            continue
        if parameter.name in TAKEN or parameter.kind is parameter.POSITIONAL_ONLY:
            raise ConfigError(
                f"{group}._target_: {cls.__qualname__} has a parameter {parameter.name!r} that no key can give; "
                "rename it, or make it a keyword parameter"
            )
        if parameter.default is parameter.empty:
            fields.append((parameter.name, _type(parameter), dataclasses.field()))
        elif _is_plain(parameter.default):  # other values, such as functions, keep their default
            fields.append((parameter.name, _type(parameter), _default(parameter.default)))
    namespace = {"made_from": cls, "group": group, "name": "custom"}
    return dataclasses.make_dataclass(
        f"{cls.__name__}Component", fields, bases=(base,), namespace=namespace, kw_only=True
    )


def _type(parameter: inspect.Parameter) -> Any:
    """The type of a parameter as the name of a known type, or Any."""
    kind = name_type(parameter.annotation)
    main = kind.removesuffix(" | None")
    if main not in WORDS:
        return Any
    return f"{main} | None" if parameter.default is None else kind


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


def _default(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return dataclasses.field(default_factory=lambda: [list(v) if isinstance(v, tuple) else v for v in value])
    return dataclasses.field(default=value)


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
