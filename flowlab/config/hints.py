"""Where a key is that was looked for in another place."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from flowlab.config.directories import conf_directories
from flowlab.config.registry import PACKAGES, lookup, names, option_names


def find_key(composed: DictConfig, name: str, groups: Sequence[str]) -> str:
    """Say where a key is: in another group, in another option of a group, or an option itself; empty if nowhere.

    Arguments:
        composed: the configuration with the groups that the user has chosen.
        name: the last part of the key, such as "lr".
        groups: the names of all groups.
    """
    if name in groups:
        return ""
    for where in ("", *groups):
        node = composed.get(where) if where else composed
        nodes = {f"logger.{logger!s}": node[logger] for logger in node} if where == "logger" else {where: node}
        for prefix, each in nodes.items():
            if isinstance(each, DictConfig) and name in each:
                return f"did you mean {'.'.join(filter(None, (prefix, name)))!r}?"
    for group in groups:
        if options := [option for option in option_names(group) if name in _keys(group, option)]:
            prefix = f"{group}.{options[0]}" if group == "logger" else group
            added = " or ".join(f"{group}={option}" for option in options)
            return f"{prefix}.{name} is a key of another option: add {added}"
    return next((f"did you mean {group}={name}?" for group in groups if name in option_names(group)), "")


def _keys(group: str, option: str) -> list[str]:
    """The keys of an option; an experiment or a sweep has none, as it sets keys of others."""
    if group in ("experiment", "sweep"):
        return []
    for path in (directory / group / f"{option}.yaml" for directory in conf_directories()):
        if path.is_file():
            with contextlib.suppress(YAMLError, OmegaConfBaseException):  # a user's file, which nobody has chosen
                return [str(key) for key in OmegaConf.load(path)]
            return []
    return component_keys(group, {"name": option})


def component_keys(group: str, node: Mapping[Any, Any]) -> list[str]:
    """The keys of the component that a node names; empty if it names none."""
    known = group in PACKAGES and node.get("name") in names(group)
    return [item.name for item in dataclasses.fields(lookup(group, node["name"]))] if known else []
