"""Components that are derived from plain classes: the parameters of the constructor are the keys."""

from __future__ import annotations

import dataclasses
import inspect
from functools import lru_cache
from importlib import import_module
from typing import Any, ClassVar

from flowlab.config.component import WORDS, Component, name_type
from flowlab.config.errors import ConfigError

# The module and class that turn a constructor's object into one of the group; classes of other groups are dataclasses.
BASES = {
    "flow": ("flowlab.flows.base", "FlowFromClass"),
    "target": ("flowlab.targets._from_class", "TargetFromClass"),
    "logger": ("flowlab.loggers.base", "LoggerFromClass"),
}
TAKEN = ("name", "group", "_target_")  # keys of every component; a parameter of such a name keeps its default


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
            f"{identity(cls)}: must be a dataclass to be an option of the group {group}; "
            "put @dataclass before the class"
        )
    kinds = _base(group).kinds()
    if not issubclass(cls, kinds):
        raise ConfigError(
            f"{identity(cls)}: must be derived from {' or '.join(map(identity, kinds))} to be a {group}; a component "
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


def identity(component: Any) -> str:
    return f"{component.__module__}.{component.__qualname__}"
