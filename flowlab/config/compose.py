"""The way from Hydra's YAML and a user's words to a checked configuration.

The YAML under `conf/` holds the values, `flowlab.config.schemas` what each may be. Nothing here imports torch, so that a
mistake is answered at once.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import (
    ConfigKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)

from flowlab.config.allowed import check_overrides, check_targets
from flowlab.config.custom import schema_of
from flowlab.config.overrides import (
    check_key,
    check_option,
    conf_directory,
    did_you_mean,
    explained,
    first_lines,
    is_choice,
    option_names,
    parse_overrides,
    try_compose,
)
from flowlab.config.schemas import SCHEMAS, Config, ConfigError, CustomConfig
from flowlab.config.secrets import check_written


def compose(*overrides: str) -> Config:
    """The configuration that the shell would compose from the same words.

    Arguments:
        overrides: as on the command line, such as "experiment=banana", "flow.depth=4", "target=two_moons".

    Raises:
        ConfigError: an unknown key or option, a wrong type or a value out of range.

    Example:
        >>> import flowlab
        >>> cfg = flowlab.compose("target=funnel", "flow.depth=4")
        >>> cfg.target.scale, cfg.flow.depth, cfg.max_steps
        (3.0, 4, 10000)
    """
    return to_config(compose_yaml(overrides))


def compose_yaml(overrides: Sequence[str], hydra_settings: bool = False) -> DictConfig:
    """What Hydra composes from the overrides, not yet checked against the types.

    Raises:
        ConfigError: an override that cannot be parsed, an unknown key or option, or code that is not allowed.
    """
    parsed = parse_overrides(overrides)
    check_overrides(parsed)
    swept = [override.get_key_element() for override in parsed if override.is_sweep_override()]
    if swept:
        raise ConfigError(f"{swept[0]}: several values make a sweep, which needs -m (--multirun) on the command line")
    for override in parsed:
        check_option(override)
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_directory())):
        try:
            composed = hydra_compose("config", overrides=list(overrides), return_hydra_config=True)
        except Exception as error:  # Hydra and OmegaConf trip over some values instead of refusing them
            choices = [o.input_line for o in parsed if o.input_line and is_choice(o) and not o.is_delete()]
            with_groups = try_compose(choices)
            if not isinstance(with_groups, Exception):
                for override in parsed:
                    check_key(with_groups, override)
            raise ConfigError(explained(error, overrides)) from None
    check_targets(composed)
    if not hydra_settings:
        with open_dict(composed):
            del composed["hydra"]
    return composed


def to_config(composed: DictConfig | dict[str, Any]) -> Config:
    """Check a composed configuration against the types and ranges.

    Raises:
        ConfigError: a missing, unknown or wrong value.
    """
    values = OmegaConf.create(composed) if isinstance(composed, dict) else composed.copy()
    OmegaConf.set_struct(values, False)
    values.pop("hydra", None)
    try:
        OmegaConf.resolve(values)
    except (InterpolationResolutionError, RecursionError) as error:
        raise ConfigError(f"{_unresolvable(values)}: {first_lines(error).splitlines()[0]}") from None
    check_written(OmegaConf.to_container(values))
    groups = {}
    for group, schemas in SCHEMAS.items():
        node = values.pop(group, None)
        if not isinstance(node, DictConfig):
            raise ConfigError(
                f"{group}={node!r}: must be an option of the group {group}: {', '.join(option_names(group))}"
            )
        name = "" if "" in schemas else node.get("name")
        if name not in schemas:
            raise ConfigError(f"{group}.name={name!r} is unknown; allowed: {', '.join(schemas)}")
        schema = schemas[name]
        if schema is CustomConfig:
            schema = schema_of(group, OmegaConf.to_container(node).get("_target_"))  # type: ignore[union-attr]
        groups[group] = as_typed(schema, node, f"{group}.")
    top = [f for f in dataclasses.fields(Config) if f.name not in SCHEMAS]
    config = as_typed(dataclasses.make_dataclass("Top", [(f.name, f.type, f) for f in top], kw_only=True), values, "")
    return Config(**{f.name: getattr(config, f.name) for f in top}, **groups)


def to_dict(config: Config) -> dict[str, Any]:
    """The configuration as plain dicts, lists, numbers and strings."""
    return dataclasses.asdict(config)


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested configuration by dotted names.

    Example:
        >>> from flowlab.config.compose import flat
        >>> flat({"seed": 0, "flow": {"depth": 2, "rank": 1}})
        {'seed': 0, 'flow.depth': 2, 'flow.rank': 1}
    """
    named: dict[str, Any] = {}
    for name, value in values.items():
        named |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return named


def as_typed(schema: type, node: DictConfig, prefix: str) -> Any:
    """A node as its dataclass, checked; `prefix` goes before the names in messages."""
    allowed = [f.name for f in dataclasses.fields(schema)]
    unknown = [str(key) for key in node if str(key) not in allowed]
    if unknown:
        raise ConfigError(f"{prefix}{unknown[0]}: no such key; {did_you_mean(unknown[0], allowed)}")
    plain: Any = OmegaConf.to_container(node)
    for item in dataclasses.fields(schema):
        value = None if OmegaConf.is_missing(node, item.name) else plain.get(item.name)
        if isinstance(value, bool) and str(value).lower() in item.metadata.get("choices", ()):
            value = node[item.name] = str(value).lower()  # a word of a choice, which YAML takes for more
        if value is not None and not _fits(item.type, value):
            raise ConfigError(f"{prefix}{item.name}={value!r}: must be {_describe(item)}")
        if "str" not in str(item.type) and any(isinstance(n, int) and abs(n) >= 2**63 for n in _numbers(value)):
            raise ConfigError(f"{prefix}{item.name}={value!r}: must be below 2**63 where it is a whole number")
        if item.type == "list[list[float]]" and value is not None:
            # OmegaConf takes 2 for 2.0 in a list, but not in a list of lists.
            node[item.name] = [_floats(row) for row in value]
    try:
        typed = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), node))
    except MissingMandatoryValue as error:
        plus = "+" if issubclass(schema, CustomConfig) else ""
        raise ConfigError(
            f"{prefix}{error.key or error.full_key}: must be given: {plus}{prefix}{error.key}=..."
        ) from None
    except (ValidationError, ConfigKeyError) as error:
        key = str(error.full_key or error.key)
        culprit = next((f for f in dataclasses.fields(schema) if f.name == key.split("[")[0]), None)
        value = OmegaConf.select(node, key, default=None)
        raise ConfigError(f"{prefix}{key}={value!r}: must be {_describe(culprit)}") from None
    for name, complaint in _out_of_range(typed):
        raise ConfigError(f"{prefix}{name}={getattr(typed, name)!r}: {complaint}")
    return typed


def _out_of_range(typed: Any) -> Iterator[tuple[str, str]]:
    for item in dataclasses.fields(typed):
        value, limits = getattr(typed, item.name), item.metadata
        if any(isinstance(number, float) and not math.isfinite(number) for number in _numbers(value)):
            yield item.name, "must be a finite number"
        if isinstance(value, list) and not value and item.name != "tags" and not isinstance(typed, CustomConfig):
            yield item.name, "must not be empty"
        if value is None or not limits:
            continue
        if "choices" in limits and value not in limits["choices"]:
            yield item.name, did_you_mean(str(value), limits["choices"])
        if "minimum" in limits and value < limits["minimum"]:
            yield item.name, f"must be at least {limits['minimum']}"
        if "maximum" in limits and value > limits["maximum"]:
            yield item.name, f"must be at most {limits['maximum']}"
        if "above" in limits and not limits["above"] < value < limits["below"]:
            end = f" and less than {limits['below']}" if limits["below"] < math.inf else ""
            yield item.name, f"must be greater than {limits['above']}{end}"


def _fits(kind: Any, value: Any) -> bool:
    """Whether a value has the shape of its type: OmegaConf would take 7 for true, and trips over a list in a list."""
    if kind is Any:  # a parameter without an annotation, of a user's own class
        return True
    kind = str(kind).removesuffix(" | None")
    if kind.startswith("list["):
        return isinstance(value, list) and all(each is None or _fits(kind[5:-1], each) for each in value)
    return not isinstance(value, list | dict) and (kind == "bool") == isinstance(value, bool)


def _floats(row: list[Any]) -> list[Any]:
    """A list with its whole numbers as floats; what is no number is left for the types to refuse."""
    return [float(value) if isinstance(value, int) and not isinstance(value, bool) else value for value in row]


def _numbers(value: Any) -> list[Any]:
    """A value, or what lists hold of them, however deep."""
    return [number for part in value for number in _numbers(part)] if isinstance(value, list) else [value]


def _describe(item: dataclasses.Field[Any] | None) -> str:
    if item and "choices" in item.metadata:
        return f"one of {', '.join(item.metadata['choices'])}"
    words = {
        "int": "a whole number",
        "float": "a number",
        "str": "a word",
        "bool": "true or false",
        "list[float]": "a list of numbers, as [1.0, 2.0]",
        "list[str]": "a list of words, as [a, b]",
        "list[list[float]]": "a list of lists of numbers, as [[1.0, 0.0], [0.0, 1.0]]",
    }
    text = str(item and item.type)
    main = text.removesuffix(" | None")
    return words.get(main, main) + (" or null" if text != main else "")


def _unresolvable(values: DictConfig) -> str:
    """The first key whose interpolation leads nowhere."""
    for key, value in flat(OmegaConf.to_container(values, resolve=False)).items():  # type: ignore[arg-type]
        try:
            found = OmegaConf.select(values, key)
            OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else None
        except (OmegaConfBaseException, RecursionError):
            return f"{key}={value}"
    return "an interpolation"
