"""The overrides of a command line, KEY=VALUE: parsed, and checked with an error that names the wrong word."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig

from flowlab.config.errors import ConfigError
from flowlab.config.registry import PACKAGES, added, lookup
from flowlab.config.schema import RunConfig
from flowlab.config.typed import MISSING
from flowlab.config.words import did_you_mean

QUOTES = "put a value with other characters than letters, digits and . / _ - in quotes: KEY='a b'"

# Lines of Hydra's and OmegaConf's messages that hold one of these mean nothing to a user.
FOR_DEVELOPERS = ("HYDRA_FULL_ERROR", "    full_key:", "    reference_type=", "    object_type=")

# Parts of OmegaConf's messages, and the complaint in plain words.
PLAIN_WORDS = {
    "Cannot merge DictConfig with ListConfig": "must be a list, as [a, b]",
    "is not Optional": "must have a value",
    "does not support deletion": "must have a value",
}


def conf_directory() -> Path:
    """The directory of the YAML: inside the installed package, or beside it in a clone."""
    package = Path(__file__).parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """Parse overrides by Hydra's grammar.

    Raises:
        ConfigError: a word does not follow the grammar.
    """
    parser = OverridesParser.create()
    parsed = []
    for word in overrides:
        try:
            override = parser.parse_overrides(overrides=[word])[0]
        except (HydraException, ValueError) as error:  # a ValueError: a number of thousands of digits
            reason = shorten(error).splitlines()[0]
            said = "" if reason.startswith(("Lexer", "Error parsing")) else f": {reason}"
            raise ConfigError(f"{word!r}: cannot be read as KEY=VALUE; {QUOTES}{said}") from None
        if not override.key_or_group:
            raise ConfigError(f"{word!r}: cannot be read as KEY=VALUE: there is no key in it")
        parsed.append(override)
    return parsed


def group_names() -> list[str]:
    return sorted(path.name for path in conf_directory().iterdir() if path.is_dir() and path.name != "hydra")


def option_names(group: str) -> list[str]:
    """The options of a group: those with a YAML file, and those that code outside flowlab adds."""
    own = sorted(path.stem for path in (conf_directory() / group).glob("*.yaml"))
    return [*own, *(name for name in (added(group) if group in PACKAGES else []) if name not in own)]


def store_added(overrides: Sequence[Override]) -> None:
    """Give Hydra a node for every option from outside flowlab that the overrides name.

    Raises:
        ConfigError: the package cannot be imported.
    """
    for override in overrides:
        group = override.key_or_group
        for name in added(group) if group in PACKAGES else ():
            if name not in re.findall(r"[\w-]+", str(override.input_line).partition("=")[2]):
                continue
            node: dict[str, Any] = {"name": name}
            for item in dataclasses.fields(lookup(group, name)):
                if item.init:
                    made = item.default_factory() if callable(item.default_factory) else item.default
                    node[item.name] = MISSING if made is dataclasses.MISSING else made
            package = f"logger.{name}" if group == "logger" else group
            ConfigStore.instance().store(group=group, name=name, node=node, package=package, provider=name)


def is_choice(override: Override) -> bool:
    """Whether an override chooses an option of a group, of flowlab or of Hydra."""
    return override.key_or_group in group_names() or override.key_or_group.startswith("hydra/")


def check_option(override: Override) -> None:
    """Check that a chosen option exists, before Hydra looks for its file, and that no setting is removed.

    Raises:
        ConfigError: there is no such option, or a key is removed.
    """
    group, value = override.key_or_group, override.value()
    if override.is_delete() and ("." in group or group in RunConfig.__dataclass_fields__) and group[:5] != "hydra":
        raise ConfigError(f"~{group}: a key cannot be removed; give it a value: {group}=...")
    if group not in group_names() or override.is_delete() or isinstance(value, dict):
        return
    for option in value if isinstance(value, list) else [value]:
        if option not in option_names(group) and (group, option) != ("experiment", None):
            raise ConfigError(f"{group}={option}: no such option; {did_you_mean(str(option), option_names(group))}")
    if override.is_add() and group != "sweep":
        raise ConfigError(f"{override.input_line}: the group has an option already; leave out the + to choose another")


def check_key(composed: DictConfig, override: Override) -> None:
    """Check that the configuration has the key of an override.

    Raises:
        ConfigError: it has no such key.
    """
    key = override.key_or_group
    if override.is_add() or override.is_delete() or key == "hydra" or is_choice(override):
        return
    node: Any = composed
    for depth, part in enumerate(key.split(".")):
        where = ".".join(key.split(".")[:depth])
        if not isinstance(node, DictConfig):
            raise ConfigError(f"{key}: no such key: {where} is a value and has no keys")
        if part not in list(node.keys()):
            if depth == 1 and node.get("name") == "custom":
                raise ConfigError(f"{key}: a key of your own class needs a plus: +{key}=...")
            allowed = [str(name) for name in node if where or name != "hydra"]
            allowed += [] if where else [group for group in group_names() if group not in allowed]
            raise ConfigError(f"{key}: no such key{f' in {where}' if where else ''}; {did_you_mean(part, allowed)}")
        node = node._get_node(part)


def try_compose(overrides: Sequence[str]) -> DictConfig | Exception:
    """Compose some overrides; gives the error if they cannot be composed."""
    try:
        return hydra_compose("config", overrides=list(overrides), return_hydra_config=True)
    except Exception as error:
        return error


def explain(error: Exception, overrides: Sequence[str]) -> str:
    """Describe an error of Hydra in one line: the first override that raises it, and the cause."""
    tried = (overrides[:count] for count in range(1, len(overrides) + 1))
    culprit = next((some[-1] for some in tried if isinstance(try_compose(some), Exception)), "")
    said = shorten(error)
    if said.startswith("Error merging override") and error.__cause__:
        said = str(error.__cause__).splitlines()[0]
        said = next((better for part, better in PLAIN_WORDS.items() if part in said), said)
    if not isinstance(error, HydraException):
        return f"{culprit}: Hydra cannot use it: {said}"
    return said if culprit.partition("=")[0].lstrip("+~") in said else f"{culprit}: {said}"


def shorten(error: Exception) -> str:
    """The lines of a message that mean something to a user."""
    lines = str(error).split("Config search path:")[0].splitlines()
    return "\n".join(line for line in lines if line.strip() and not any(word in line for word in FOR_DEVELOPERS))
