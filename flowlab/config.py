"""The way from Hydra's YAML and a user's words to a checked configuration.

The YAML under `conf/` holds the values, `flowlab.schemas` what each may be. Nothing here imports torch, so that a
mistake is answered at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import (
    ConfigKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)

from flowlab.allowed import check_overrides, check_targets
from flowlab.custom import schema_of
from flowlab.schemas import SCHEMAS, Config, ConfigError, CustomConfig
from flowlab.secrets import check_written

# What Lightning calls a setting that is not one here, and why there is none.
ELSEWHERE = {
    "accumulate_grad_batches": "batch_size is the batch of a whole step, and trainer.devices processes share it; "
}


def conf_directory() -> Path:
    """Where the YAML lies: inside the installed package, or beside it in a clone."""
    package = Path(__file__).parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


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
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_directory())):
        try:
            composed = hydra_compose("config", overrides=list(overrides), return_hydra_config=True)
        except (HydraException, OmegaConfBaseException, ValueError, AssertionError) as error:
            groups = [
                o.input_line for o in parsed if o.input_line and o.key_or_group in _groups() and not o.is_delete()
            ]
            with_groups = _try_compose(groups)
            if with_groups is not None:
                for override in parsed:
                    _check_key(with_groups, override)
            raise ConfigError(_first_lines(error)) from None
    check_targets(composed)
    if not hydra_settings:
        with open_dict(composed):
            del composed["hydra"]
    return composed


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """The overrides, taken apart by Hydra's own grammar.

    Raises:
        ConfigError: one of them does not follow it.
    """
    parser = OverridesParser.create()
    parsed = []
    for word in overrides:
        try:
            parsed += parser.parse_overrides(overrides=[word])
        except HydraException as error:
            reason = _first_lines(error).splitlines()[0]
            raise ConfigError(f"{word!r}: cannot be read as KEY=VALUE: {reason}") from None
    return parsed


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
    except InterpolationResolutionError as error:
        where = f"{error.full_key}: " if error.full_key else ""
        raise ConfigError(f"{where}{_first_lines(error).splitlines()[0]}") from None
    check_written(OmegaConf.to_container(values))
    groups = {}
    for group, schemas in SCHEMAS.items():
        node = values.pop(group, None)
        if not isinstance(node, DictConfig):
            raise ConfigError(f"{group}={node!r}: must be an option of the group {group}: {', '.join(_options(group))}")
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
        >>> from flowlab.config import flat
        >>> flat({"seed": 0, "flow": {"depth": 2, "rank": 1}})
        {'seed': 0, 'flow.depth': 2, 'flow.rank': 1}
    """
    named: dict[str, Any] = {}
    for name, value in values.items():
        named |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return named


def did_you_mean(word: str, allowed: Sequence[str]) -> str:
    """The end of a message about an unknown word: what it may have meant, and what is allowed."""
    close = difflib.get_close_matches(word, allowed, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ELSEWHERE.get(word, "")
    return f"{meant}allowed: {', '.join(allowed)}"


def as_typed(schema: type, node: DictConfig, prefix: str) -> Any:
    """A node as its dataclass, checked; `prefix` goes before the names in messages."""
    allowed = [f.name for f in dataclasses.fields(schema)]
    unknown = [str(key) for key in node if str(key) not in allowed]
    if unknown:
        raise ConfigError(f"{prefix}{unknown[0]}: no such key; {did_you_mean(unknown[0], allowed)}")
    for item in dataclasses.fields(schema):
        # OmegaConf would take 7 for true and true for 1.
        value = None if OmegaConf.is_missing(node, item.name) else node.get(item.name)
        if isinstance(value, bool) and str(value).lower() in item.metadata.get("choices", ()):
            value = node[item.name] = str(value).lower()  # a word of a choice, which YAML takes for more
        wants_bool = str(item.type).startswith("bool")
        if value is not None and item.type is not Any and wants_bool != isinstance(value, bool):
            raise ConfigError(f"{prefix}{item.name}={value!r}: must be {_describe(item.type)}")
        if item.type == "list[list[float]]" and isinstance(value, ListConfig):
            # OmegaConf takes 2 for 2.0 in a list, but not in a list of lists.
            if not all(isinstance(row, ListConfig) for row in value):
                raise ConfigError(f"{prefix}{item.name}={value}: must be {_describe(item.type)}")
            node[item.name] = [_floats(row) for row in value]
    try:
        typed = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), node))
    except MissingMandatoryValue as error:
        plus = "+" if issubclass(schema, CustomConfig) else ""
        raise ConfigError(
            f"{prefix}{error.key or error.full_key}: must be given: {plus}{prefix}{error.key}=..."
        ) from None
    except (ValidationError, ConfigKeyError) as error:
        key = error.full_key or error.key
        kind = next((f.type for f in dataclasses.fields(schema) if f.name == str(key).split("[")[0]), None)
        value = OmegaConf.select(node, str(key), default=None)
        raise ConfigError(f"{prefix}{key}={value!r}: must be {_describe(kind)}") from None
    for culprit, complaint in _out_of_range(typed):
        raise ConfigError(f"{prefix}{culprit}={getattr(typed, culprit)!r}: {complaint}")
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


def _floats(row: ListConfig) -> list[Any]:
    """A list with its whole numbers as floats; what is no number is left for the types to refuse."""
    return [float(value) if isinstance(value, int) and not isinstance(value, bool) else value for value in row]


def _numbers(value: Any) -> list[Any]:
    """A value, or what lists hold of them, however deep."""
    return [number for part in value for number in _numbers(part)] if isinstance(value, list) else [value]


def _describe(kind: Any) -> str:
    words = {
        "int": "a whole number",
        "float": "a number",
        "str": "a word",
        "bool": "true or false",
        "list[float]": "a list of numbers, as [1.0, 2.0]",
        "list[str]": "a list of words, as [a, b]",
        "list[list[float]]": "a list of lists of numbers, as [[1.0, 0.0], [0.0, 1.0]]",
    }
    text = str(kind)
    main = text.removesuffix(" | None")
    return words.get(main, main) + (" or null" if text != main else "")


def _groups() -> list[str]:
    return sorted(path.name for path in conf_directory().iterdir() if path.is_dir() and path.name != "hydra")


def _options(group: str) -> list[str]:
    return sorted(path.stem for path in (conf_directory() / group).glob("*.yaml"))


def _try_compose(overrides: list[str]) -> DictConfig | None:
    """The configuration that the choices of groups alone give; names a wrong choice."""
    for override in OverridesParser.create().parse_overrides(overrides):
        group, option = override.key_or_group, override.value()
        if option not in _options(group):
            raise ConfigError(f"{group}={option}: no such option; {did_you_mean(str(option), _options(group))}")
    try:
        return hydra_compose("config", overrides=overrides)
    except (HydraException, OmegaConfBaseException, ValueError):
        return None


def _check_key(composed: DictConfig, override: Override) -> None:
    """Name an override whose key the configuration does not have."""
    key = override.key_or_group
    if override.is_add() or override.is_delete() or (key.split(".")[0] in ("hydra", *_groups()) and "." not in key):
        return
    if key.startswith("hydra"):
        return
    node: Any = composed
    for depth, part in enumerate(key.split(".")):
        if not isinstance(node, DictConfig) or part not in list(node.keys()):
            where = ".".join(key.split(".")[:depth])
            if isinstance(node, DictConfig) and depth == 1 and node.get("name") == "custom":
                raise ConfigError(f"{key}: a key for a class of your own has a plus: +{key}=...")
            allowed = [str(name) for name in node] if isinstance(node, DictConfig) else []
            allowed += [] if where else [group for group in _groups() if group not in allowed]
            raise ConfigError(f"{key}: no such key{f' in {where}' if where else ''}; {did_you_mean(part, allowed)}")
        node = node._get_node(part)


def _first_lines(error: Exception) -> str:
    return "\n".join(line for line in str(error).splitlines() if line.strip() and "HYDRA_FULL_ERROR" not in line)
