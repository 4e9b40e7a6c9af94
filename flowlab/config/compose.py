"""Compose the YAML and a user's overrides into a checked configuration.

The YAML under `conf/` holds the values; the components hold the types and ranges. Nothing here imports torch, so an
error is shown at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from flowlab.config.aliases import rename_keys, rename_words
from flowlab.config.allowed import check_overrides, check_targets
from flowlab.config.component import Component
from flowlab.config.errors import ConfigError
from flowlab.config.from_class import schema_of_path
from flowlab.config.overrides import (
    check_key,
    check_option,
    conf_directory,
    explain,
    is_choice,
    option_names,
    parse_overrides,
    shorten,
    store_added,
    try_compose,
)
from flowlab.config.registry import lookup
from flowlab.config.schema import COMPONENTS, Config, RunConfig, TrainerConfig
from flowlab.config.secrets import check_written
from flowlab.config.typed import as_typed


def compose(*overrides: str) -> Config:
    """Compose a configuration from overrides, as the command line does.

    Arguments:
        overrides: as on the command line, such as "experiment=banana", "flow.depth=4", "target=two_moons".

    Raises:
        ConfigError: a key or an option is unknown, or a value has the wrong type or is out of range.

    Example:
        >>> import flowlab
        >>> cfg = flowlab.compose("target=funnel", "flow.depth=4")
        >>> cfg.target.scale, cfg.flow.depth, cfg.max_steps
        (3.0, 4, 10000)
    """
    return to_config(compose_yaml(overrides))


def compose_yaml(overrides: Sequence[str], hydra_settings: bool = False) -> DictConfig:
    """Compose overrides by Hydra, without checking types.

    Raises:
        ConfigError: an override cannot be parsed, a key or an option is unknown, or code is not allowed.
    """
    overrides = rename_words(overrides)
    parsed = parse_overrides(overrides)
    check_overrides(parsed)
    store_added(parsed)
    swept = [override.get_key_element() for override in parsed if override.is_sweep_override()]
    if swept:
        raise ConfigError(f"{swept[0]}: several values make a sweep; add -m (--multirun) to the command line")
    for override in parsed:
        check_option(override)
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_directory())):
        try:
            composed = hydra_compose("config", overrides=list(overrides), return_hydra_config=True)
        except Exception as error:  # Hydra and OmegaConf fail in many ways on values that they do not expect
            choices = [o.input_line for o in parsed if o.input_line and is_choice(o) and not o.is_delete()]
            with_groups = try_compose(choices)
            if not isinstance(with_groups, Exception):
                for override in parsed:
                    check_key(with_groups, override)
            raise ConfigError(explain(error, overrides)) from None
    check_targets(composed)
    if not hydra_settings:
        with open_dict(composed):
            del composed["hydra"]
    return composed


def to_config(composed: DictConfig | dict[str, Any]) -> Config:
    """Check a composed configuration against the types and ranges of its components.

    Raises:
        ConfigError: a value is missing, unknown or wrong.
    """
    values = OmegaConf.create(composed) if isinstance(composed, dict) else composed.copy()
    OmegaConf.set_struct(values, False)
    values.pop("hydra", None)
    try:
        OmegaConf.resolve(values)
    except (InterpolationResolutionError, RecursionError) as error:
        raise ConfigError(f"{_unresolvable(values)}: {shorten(error).splitlines()[0]}") from None
    plain = rename_keys(OmegaConf.to_container(values))  # type: ignore[arg-type]
    check_written(plain)
    built: dict[str, Any] = {group: _component(group, plain.pop(group, None), group) for group in COMPONENTS}
    loggers, trainer = plain.pop("logger", None), plain.pop("trainer", None)
    if not isinstance(loggers, dict) or not all(isinstance(node, dict) for node in loggers.values()):
        raise _no_option("logger", loggers)
    if not isinstance(trainer, dict):
        raise _no_option("trainer", trainer)
    built["logger"] = {name: _component("logger", node, f"logger.{name}") for name, node in loggers.items()}
    built["trainer"] = as_typed(TrainerConfig, trainer, "trainer.")
    top = as_typed(RunConfig, plain, "")
    for name in top.metrics:
        lookup("metric", name, "metrics")
    return Config(**vars(top), **built)


def _component(group: str, node: Any, where: str) -> Component:
    """The component that a node of the configuration names by `name` or `_target_`."""
    if not isinstance(node, dict):
        raise _no_option(group, node)
    by_path = "_target_" in node
    schema = schema_of_path(group, node["_target_"]) if by_path else lookup(group, node.get("name"), f"{where}.name")
    keys = {key: value for key, value in node.items() if key != "name"}
    return as_typed(schema, keys, f"{where}.", new_keys="+" if by_path else "")


def _no_option(group: str, node: Any) -> ConfigError:
    return ConfigError(f"{group}={node!r}: must be an option of the group {group}: {', '.join(option_names(group))}")


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten a nested configuration: its values by dotted names.

    Example:
        >>> from flowlab.config.compose import flat
        >>> flat({"seed": 0, "flow": {"depth": 2, "rank": 1}})
        {'seed': 0, 'flow.depth': 2, 'flow.rank': 1}
    """
    named: dict[str, Any] = {}
    for name, value in values.items():
        named |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return named


def _unresolvable(values: DictConfig) -> str:
    """The first key whose interpolation has no value."""
    for key, value in flat(OmegaConf.to_container(values, resolve=False)).items():  # type: ignore[arg-type]
        try:
            found = OmegaConf.select(values, key)
            OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else None
        except (OmegaConfBaseException, RecursionError):
            return f"{key}={value}"
    return "an interpolation"
