"""Components, the parts of a configuration: dataclasses whose fields are its keys, with types and ranges."""

from __future__ import annotations

import dataclasses
import inspect
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self, TypeVar

from flowlab.config.errors import ConfigError, did_you_mean

T = TypeVar("T")

REQUIRED: Any = dataclasses.MISSING
MISSING = "???"  # OmegaConf's sign for a value that the user must give
WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a word",
    "bool": "true or false",
    "list[int]": "a list of whole numbers, as [64, 64]",
    "list[float]": "a list of numbers, as [1.0, 2.0]",
    "list[str]": "a list of words, as [a, b]",
    "list[list[float]]": "a list of lists of numbers, as [[1.0, 0.0], [0.0, 1.0]]",
}


class Settings:
    """A dataclass whose fields are keys. Once a configuration has made it, assigning to an unknown key is an error."""

    __slots__ = ("_prefix",)  # beside the fields, so vars() gives these alone

    def __setattr__(self, name: str, value: Any) -> None:
        own = getattr(type(self), name, len)  # a property or a constant of the class may be set, a method may not
        known = not callable(own) or name in vars(self) or name.startswith("_")
        if hasattr(self, "_prefix") and not known:
            keys = [item.name for item in dataclasses.fields(self) if item.init]  # type: ignore[arg-type]
            raise ConfigError(f"{self._prefix}{name}: no such key; {did_you_mean(name, keys)}")
        super().__setattr__(name, value)

    def close_keys(self, prefix: str) -> None:
        """Refuse unknown keys from now on; `prefix` is the text before each key in messages."""
        self._prefix = prefix


class Component(Settings):
    """A dataclass whose fields are the keys of a configuration node, and which builds the object that they describe.

    Attributes:
        group, name: the names under which the component is registered.
        options: the options of other groups that suit it, by group; a target has those that a run takes by default.
    """

    group: ClassVar[str] = ""
    name: ClassVar[str] = ""
    options: ClassVar[dict[str, str]] = {}

    def build(self, *given: Any, **named: Any) -> Any:
        """The object that the configuration describes; by default the component itself."""
        return self

    def with_absolute_paths(self) -> Component:
        """A copy whose files are found from any working directory."""
        return self

    def follow_data(self, rows: int, columns: int) -> Self:
        """A copy in which each null setting that follows the data has a value for so many training rows and columns."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """The node of the configuration, as plain values."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return {"name": self.name} | {item.name: getattr(self, item.name) for item in fields if item.init}


def setting(
    default: Any = REQUIRED,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float = math.inf,
    choices: tuple[str, ...] = (),
    may_be_empty: bool = False,
    per_job: bool = False,
    follows_data: bool = False,
    kw_only: bool = False,
) -> Any:
    """A field of a dataclass, with the values that are allowed.

    Arguments:
        default: the default value; the YAML under `conf/` states it too.
        minimum, maximum: the smallest and the largest number allowed, also of the numbers in a list.
        above, below: a number must lie strictly between them.
        choices: the words that are allowed.
        may_be_empty: an empty list is allowed.
        per_job: the setting changes neither a shape nor the operations of a training step, so jobs that differ in it
            can be trained as one stack. A flow keeps it in a parameter or buffer, an optimizer gives it by `rates`; an
            objective has none.
        follows_data: null is allowed, and stands for a value that follows the number of rows and columns; see
            `Component.follow_data`.
        kw_only: the constructor takes it by keyword only.

    Example:
        >>> from dataclasses import dataclass
        >>> from flowlab.config.component import setting
        >>> @dataclass
        ... class Ring:
        ...     radius: float = setting(1.0, above=0)
        >>> Ring().radius
        1.0
    """
    limits = {"minimum": minimum, "maximum": maximum, "above": above, "choices": choices}
    metadata: dict[str, Any] = {name: limit for name, limit in limits.items() if limit not in (None, ())}
    metadata |= {"below": below, "may_be_empty": may_be_empty, "per_job": per_job, "follows_data": follows_data}
    given: dict[str, Any] = {"default_factory": default.copy} if isinstance(default, list) else {"default": default}
    return dataclasses.field(**given, metadata=metadata, kw_only=kw_only)


def per_job_fields(component: type) -> list[str]:
    """The names of the settings in which jobs of one stack may differ."""
    return [item.name for item in dataclasses.fields(component) if item.metadata.get("per_job")]


def data_fields(component: type) -> list[str]:
    """The names of the settings that follow the data where they are null."""
    return [item.name for item in dataclasses.fields(component) if item.metadata.get("follows_data")]


def as_typed(schema: type[T], values: Mapping[str, Any], prefix: str) -> T:
    """Plain values as an instance of a dataclass, checked against the types and ranges of its fields.

    Arguments:
        schema: the dataclass; its annotations are types of WORDS, or such a type or None.
        values: plain numbers, words, lists and None.
        prefix: the text before each key in messages, such as "flow.".

    Raises:
        ConfigError: a key is unknown or missing, or a value has the wrong type or is out of range.
    """
    items = {item.name: item for item in dataclasses.fields(schema) if item.init}  # type: ignore[arg-type]
    unknown = [str(key) for key in values if key not in items]
    if unknown:
        raise ConfigError(f"{prefix}{unknown[0]}: no such key; {did_you_mean(unknown[0], list(items))}")
    given: dict[str, Any] = {}
    for name, item in items.items():
        required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if values.get(name, MISSING if required else None) == MISSING:
            sign = "+" if getattr(schema, "name", "") == "custom" else ""  # a key that the YAML does not have
            raise ConfigError(f"{prefix}{name}: must be given: {sign}{prefix}{name}=...")
        if name in values:
            given[name] = _convert_field(item, values[name], f"{prefix}{name}")
    for name, value in given.items():
        for complaint in _find_complaints(items[name], value):
            raise ConfigError(f"{prefix}{name}={value!r}: {complaint}")
    option = f"{prefix[:-1]}={name}" if (name := getattr(schema, "name", "")) else prefix[:-1]
    try:
        made = schema(**given)
        if isinstance(made, Settings):
            made.close_keys(prefix)
        return made
    except ConfigError:
        raise
    except OverflowError:
        raise ConfigError(f"{option}: its numbers are too large to compute with; use smaller ones") from None
    except ValueError as error:  # settings that do not fit each other
        is_key = str(error).partition("=")[0] in items
        raise ConfigError(f"{prefix if is_key else option + ': '}{error}") from None


def _convert_field(item: dataclasses.Field[Any], value: Any, where: str) -> Any:
    """Convert a value to the type of its field: 2 becomes 2.0 for a number, and 7 becomes "7" for a word."""
    kind, choices = name_type(item.type), item.metadata.get("choices", ())
    if item.metadata.get("follows_data") and not kind.endswith(" | None"):
        kind += " | None"
    if isinstance(value, bool) and str(value).lower() in choices:
        return str(value).lower()  # YAML reads the word true as a bool
    try:
        converted = _convert(kind, value)
    except (TypeError, ValueError, OverflowError):
        main = kind.removesuffix(" | None")
        allowed = WORDS.get(main, main) + (" or null" if kind != main else "")
        allowed = f"one of {', '.join(choices)}" if choices else allowed
        raise ConfigError(f"{where}={value!r}: must be {allowed}") from None
    if "str" not in kind and any(isinstance(n, int) and abs(n) >= 2**63 for n in _flatten(converted)):
        raise ConfigError(f"{where}={value!r}: a whole number must be below 2**63")
    return converted


def as_plain(value: Any, where: str = "") -> Any:
    """A value of Python as the dicts, lists, words and numbers of a configuration, also from numpy and torch.

    Example:
        >>> import numpy as np
        >>> from flowlab.config.component import as_plain
        >>> as_plain({"seed": np.int64(4), "mean": np.zeros(2)})
        {'seed': 4, 'mean': [0.0, 0.0]}

    Raises:
        ConfigError: a value is none of these; the message names its key, which begins with `where`.
    """
    if isinstance(value, dict):
        return {str(key): as_plain(part, f"{where}.{key}" if where else str(key)) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(part, where) for part in value]
    if hasattr(value, "tolist"):
        return as_plain(value.tolist(), where)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, os.PathLike):
        return str(value)
    raise ConfigError(f"{where}={value!r}: must be a number, a word, true, false, null, or a list of these")


def _convert(kind: str, value: Any) -> Any:
    if kind.endswith(" | None"):
        return None if value is None else _convert(kind.removesuffix(" | None"), value)
    if kind.startswith("list["):
        if not isinstance(value, list | tuple):
            raise TypeError
        return [_convert(kind[5:-1], each) for each in value]
    if kind not in WORDS:  # a parameter of a user's class with another annotation, or none
        return value
    if value is None or isinstance(value, list | dict) or isinstance(value, bool) != (kind == "bool"):
        raise TypeError
    if kind == "int" and isinstance(value, float):
        raise TypeError
    return {"int": int, "float": float, "str": str, "bool": bool}[kind](value)


def _find_complaints(item: dataclasses.Field[Any], value: Any) -> Iterator[str]:
    limits = item.metadata
    if any(isinstance(number, float) and not math.isfinite(number) for number in _flatten(value)):
        yield "must be a finite number"
    if isinstance(value, list) and not value and not limits.get("may_be_empty", True):
        yield "must not be empty"
    for each in _flatten(value) if value is not None else []:
        if "choices" in limits and each not in limits["choices"]:
            yield did_you_mean(str(each), limits["choices"])
        if "minimum" in limits and each < limits["minimum"]:
            yield f"must be at least {limits['minimum']}"
        if "maximum" in limits and each > limits["maximum"]:
            yield f"must be at most {limits['maximum']}"
        if "above" in limits and not limits["above"] < each < limits["below"]:
            end = f" and less than {limits['below']}" if limits["below"] < math.inf else ""
            yield f"must be greater than {limits['above']}{end}"


def _flatten(value: Any) -> list[Any]:
    """The values inside lists of any depth."""
    return [number for part in value for number in _flatten(part)] if isinstance(value, list) else [value]


def name_type(annotation: Any) -> str:
    """The name of a type, as "float" or "list[int] | None", whether its annotation is a string or evaluated.

    Example:
        >>> from flowlab.config.component import name_type
        >>> name_type(float), name_type("Optional[int]"), name_type(list[str] | None)
        ('float', 'int | None', 'list[str] | None')
    """
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    inner = text.removeprefix("typing.").removeprefix("Optional[")
    return f"{inner.removesuffix(']')} | None" if inner != text.removeprefix("typing.") else text
