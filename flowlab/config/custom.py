"""Flows and targets of the user's own: `flow=custom flow._target_=package.Class +flow.KEY=VALUE`.

The constructor of the class says which keys there are. Nothing here imports torch before a class is named.
"""

from __future__ import annotations

import dataclasses
import inspect
from functools import lru_cache
from typing import Any

from flowlab.config.allowed import check_name, load_class
from flowlab.config.schemas import ConfigError, CustomConfig

GIVEN = ("dim", "generator")  # of a constructor, by flowlab
TYPES = ("int", "float", "str", "bool", "list[float]", "list[str]", "list[list[float]]")


def schema_of(group: str, path: Any) -> type[CustomConfig]:
    """What the configuration of a class may hold: a dataclass with the parameters of its constructor.

    Those that are annotated with a type of TYPES, or with one of them or None, are held against it.

    Arguments:
        group: flow or target.
        path: the dotted name of the class.

    Raises:
        ConfigError: the class is not allowed, not there, or not one of a flow or target.
    """
    if path in (None, "???"):
        raise ConfigError(f"{group}._target_: must be given: {group}._target_=package.Class")
    check_name(f"{group}._target_", path)
    return _schema_of(group, load_class(f"{group}._target_", path, _kinds(group)))


def _kinds(group: str) -> tuple[type, ...]:
    if group == "target":
        from flowlab.targets.base import Target

        return (Target,)
    from flowlab.bijectors import Bijector
    from flowlab.flow import Flow

    return Bijector, Flow


@lru_cache(maxsize=64)
def _schema_of(group: str, cls: type) -> type[CustomConfig]:
    fields: list[tuple[str, Any, Any]] = []
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.name in GIVEN or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name in ("name", "_target_") or parameter.kind is parameter.POSITIONAL_ONLY:
            raise ConfigError(
                f"{group}._target_: {cls.__qualname__} has a parameter {parameter.name!r} that no key can give; "
                "rename it, or let it be given by name"
            )
        if parameter.default is parameter.empty:
            fields.append((parameter.name, _type(parameter), dataclasses.field()))
        elif _is_plain(parameter.default):  # others, such as functions, stay as they are
            fields.append((parameter.name, _type(parameter), _default(parameter.default)))
    return dataclasses.make_dataclass(
        f"{cls.__name__}Config", fields, bases=(CustomConfig,), namespace={"group": group}, kw_only=True
    )


def _type(parameter: inspect.Parameter) -> Any:
    """The type of a parameter as a name, or Any."""
    annotation = parameter.annotation
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    main = text.removeprefix("typing.Optional[").removesuffix("]") if "Optional" in text else text
    main = main.removesuffix(" | None")
    if main not in TYPES:
        return Any
    return f"{main} | None" if main != text or parameter.default is None else main


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


def _default(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return dataclasses.field(default_factory=lambda: [list(v) if isinstance(v, tuple) else v for v in value])
    return dataclasses.field(default=value)


def construct(config: CustomConfig, **given: Any) -> Any:
    """An object of the class of a configuration.

    Arguments:
        config: its class and its keys.
        given: what its constructor may ask for besides, of GIVEN.

    Raises:
        ConfigError: as in schema_of; or the constructor fails.
    """
    where = f"{config.group}._target_"
    cls = load_class(where, config._target_, _kinds(config.group))
    takes = inspect.signature(cls).parameters
    keys = {item.name: getattr(config, item.name) for item in dataclasses.fields(config)}
    del keys["name"], keys["_target_"]
    try:
        return cls(**keys, **{name: value for name, value in given.items() if name in takes})
    except Exception as error:  # whatever a class of the user's raises
        said = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{where}={config._target_}: cannot be built: {said}") from error


def restore(group: str, values: dict[str, Any]) -> CustomConfig:
    """The configuration of a class from its values: how it is pickled, since its own class is made here."""
    return schema_of(group, values["_target_"])(**values)
