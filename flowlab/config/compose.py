"""Compose the YAML and a user's overrides KEY=VALUE into a checked configuration.

The YAML under `conf/` holds the values; the components hold the types and ranges. An error names the wrong word.
Nothing here imports torch, so it is shown at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import threading
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf, open_dict

from flowlab.config.component import MISSING
from flowlab.config.directories import conf_directories, conf_directory, use_directory, users_directory
from flowlab.config.errors import ConfigError, did_you_mean, shorten
from flowlab.config.hints import component_keys, find_key
from flowlab.config.registry import PACKAGES, add_suitable_options, added, lookup, option_names
from flowlab.config.schema import OLD_KEYS, Config, RunConfig, to_config
from flowlab.config.security import check_targets, check_words, check_written

OLD_OPTIONS = {"experiment=banana_document": "experiment=jang2018", "sweep=document": "sweep=jang2018"}
# The keys that `logger` may have, as when a run had one logger.
OLD_LOGGER_KEYS = {"project", "entity", "mode", "run_name", "group", "tags", "figures_every"}

RUN_KEYS = {item.name for item in dataclasses.fields(RunConfig)}  # keys outside any group
# Settings of Hydra that a user may give. Others run code (callbacks, logging), read files (searchpath) or write them.
HYDRA = re.compile(r"hydra(\.(run\.dir|sweep\.(dir|subdir)|verbose)|[./](launcher|sweeper)([./].+)?)")
# Settings of Hydra that flowlab's own YAML decides.
FIXED = (
    "callbacks",
    "job_logging",
    "hydra_logging",
    "env",
    "output_subdir",
    "job.chdir",
    "job.env_set",
    "job.env_copy",
)

QUOTES = "put a value with other characters than a-z, 0-9 and . / _ - in quotes: KEY='a b', in a shell \"KEY='a b'\""
# Parts of OmegaConf's messages, and the complaint in plain words.
PLAIN_WORDS = {
    "Cannot merge DictConfig with ListConfig": "must be a list, as [a, b]",
    "is not Optional": "must have a value",
    "does not support deletion": "must have a value",
}


def compose(*overrides: str | Sequence[str], config_dir: str | Path | None = None) -> Config:
    """Compose a configuration from overrides, as the command line does.

    Arguments:
        overrides: as on the command line, such as "experiment=banana", "flow.depth=4", "target=two_moons"; a list of
            them may stand for several.
        config_dir: a directory of your own with more options of the groups, such as experiment/NAME.yaml.

    Raises:
        ConfigError: a key or an option is unknown, or a value has the wrong type or is out of range.

    Example:
        >>> import flowlab
        >>> cfg = flowlab.compose("target=funnel", "flow.depth=4")
        >>> cfg.target.scale, cfg.flow.depth, cfg.max_steps
        (3.0, 4, 10000)
    """
    with use_directory(config_dir) if config_dir else contextlib.nullcontext():
        return to_config(compose_yaml(overrides))


def compose_yaml(overrides: Sequence[str | Sequence[str]], hydra_settings: bool = False) -> DictConfig:
    """Compose overrides by Hydra, without checking types.

    Raise ConfigError if an override cannot be parsed, a key or an option is unknown, or code is not allowed.
    """
    words = rename_words(overrides)
    overrides = add_suitable_options(words) if "target=" in " ".join(words) else words
    parsed = parse_overrides(overrides)
    check_words([str(override.input_line) for override in parsed])
    for override in parsed:
        _check_word(override)
    store_added(parsed)
    swept = [override.get_key_element() for override in parsed if override.is_sweep_override()]
    if swept:
        several = next(override for override in parsed if override.is_sweep_override())
        raise ConfigError(
            f"{swept[0]}: several values make a sweep; add -m (--multirun) to the command line; one value with a comma "
            f"in it needs two kinds of quotes: \"{swept[0]}='{several.get_value_string()}'\""
        )
    groups = sorted(path.name for path in conf_directory().iterdir() if path.is_dir() and path.name != "hydra")
    for override in parsed:
        _check_option(override, groups)
    with initialize_hydra():
        composed = _try_compose(overrides)
        if isinstance(composed, DictConfig):
            check_targets(composed)
        choices = [o for o in parsed if o.key_or_group in groups or o.key_or_group.startswith("hydra/")]
        others = [o for o in parsed if o not in choices and not o.is_delete() and str(o.input_line)[:7] != "+hydra."]
        if isinstance(composed, Exception) or any(str(o.input_line).startswith("+") for o in others):
            with_groups = _try_compose([o.input_line for o in choices if o.input_line and not o.is_delete()])
            if isinstance(with_groups, DictConfig):
                for override in others:
                    check_written(override.value(), override.key_or_group)
                    _check_key(with_groups, override, groups)
        if isinstance(composed, Exception):
            raise ConfigError(_explain(composed, overrides)) from None
    _check_hydra(composed)
    if not hydra_settings:
        with open_dict(composed):
            del composed["hydra"]
    return composed


_in_use = threading.RLock()


@contextlib.contextmanager
def initialize_hydra() -> Iterator[None]:
    """Initialize Hydra with flowlab's configuration inside the block, by one thread at a time.

    Hydra keeps its state in globals, which may belong to the user's own `@hydra.main`; they are put back at the end.
    """
    with _in_use:
        outer, version = GlobalHydra.instance(), VersionBase.instance()
        hydra, base = outer.hydra, version.version_base
        outer.hydra = None
        try:
            with initialize_config_dir(version_base="1.3", config_dir=str(conf_directory()), job_name="main"):
                yield
        finally:
            GlobalHydra.set_instance(outer)
            outer.hydra, version.version_base = hydra, base


def rename_words(given: Sequence[str | Sequence[str]]) -> list[str]:
    """Replace old names in the overrides of a command line, so commands of earlier versions still work.

    Raise ConfigError if an override is neither text nor a list of texts.

    Example:
        >>> from flowlab.config.compose import rename_words
        >>> rename_words(["experiment=banana_document", "flow.start=glorot"])
        ['experiment=jang2018', 'flow.initialization=glorot']
    """
    words: list[Any] = [word for each in given for word in (each if isinstance(each, list | tuple) else [each])]
    for word in words:
        if not isinstance(word, str):
            raise ConfigError(f'compose: {word!r}: must be text KEY=VALUE, such as "flow.depth=4"')
    logger = next((word.partition("=")[2] for word in words if word.startswith("logger=")), "csv")
    return [_rename(word, logger) for word in words]


def _rename(word: str, logger: str) -> str:
    if word.startswith("hydra."):  # ${hydra:KEY} has a value only while Hydra runs a job; ${hydra.KEY} always
        return word.replace("${hydra:", "${hydra.")
    bare = word.lstrip("+")
    signs, (key, equals, value) = word[: len(word) - len(bare)], bare.partition("=")
    group, _, name = key.partition(".")
    present = f"logger.{logger}.{name}" if group == "logger" and name in OLD_LOGGER_KEYS else OLD_KEYS.get(key, key)
    return signs + (OLD_OPTIONS.get(bare) or f"{present}{equals}{value}")


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """Parse overrides by Hydra's grammar; raise ConfigError if a word does not follow it."""
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


def store_added(overrides: Sequence[Override]) -> None:
    """Give Hydra a node for every option from outside flowlab that the overrides name."""
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


def _check_word(override: Override) -> None:
    """Check that a word changes nothing that Hydra runs, reads or writes."""
    word, key = str(override.input_line), override.key_or_group
    name, _, value = word.partition("=")
    if re.search(r"[/\\]|\.\.|\$\{", value) and ("/" in key or any((top / key).is_dir() for top in conf_directories())):
        raise ConfigError(f"{name}={value}: an option is a word, not a path")
    of_hydra = [part for part in (key, override.package or "") if re.match(r"hydra\b", part)]
    if of_hydra and (override.package or not HYDRA.fullmatch(key)):
        raise ConfigError(
            f"{word}: flowlab does not pass this setting to Hydra; allowed: hydra.run.dir, hydra.sweep.dir, "
            "hydra.sweep.subdir, hydra.launcher.KEY, hydra.sweeper.KEY and hydra.verbose"
        )


def _check_option(override: Override, groups: Sequence[str]) -> None:
    """Check that a chosen option exists, before Hydra looks for its file, and that no setting is removed."""
    group, value = override.key_or_group, override.value()
    if override.is_delete() and ("." in group or group in RUN_KEYS) and group[:5] != "hydra":
        raise ConfigError(f"~{group}: a key cannot be removed; give it a value: {group}=...")
    if group not in groups or override.is_delete() or isinstance(value, dict):
        return
    for option in value if isinstance(value, list) else [value]:
        if option not in option_names(group) and (group, option) != ("experiment", None):
            raise ConfigError(f"{group}={option}: no such option; {did_you_mean(str(option), option_names(group))}")
    if override.is_add() and group != "sweep":
        raise ConfigError(f"{override.input_line}: the group has an option already; leave out the + to choose another")


def _check_key(composed: DictConfig, override: Override, groups: Sequence[str]) -> None:
    """Check that the configuration, or for an added key the component, has the key of an override."""
    key = override.key_or_group
    node: Any = composed
    for depth, part in enumerate(key.split(".")):
        where = ".".join(key.split(".")[:depth])
        if not isinstance(node, DictConfig):
            raise ConfigError(f"{key}: no such key: {where} is a value and has no keys")
        if part not in list(node.keys()):
            is_own, known = depth == 1 and node.get("name") == "custom", component_keys(key.partition(".")[0], node)
            if is_own or part in known:
                if str(override.input_line).startswith("+"):
                    return
                whose = "a key of your own class" if is_own else "a key that the file of the option does not state"
                raise ConfigError(f"{key}: {whose} needs a plus: +{key}=...")
            names = [*node, *(known if where else groups)]
            allowed = [str(name) for name in dict.fromkeys(names) if name != ("name" if where else "hydra")]
            hint = find_key(composed, part, groups) or did_you_mean(part, allowed)
            raise ConfigError(f"{key}: no such key{f' in {where}' if where else ''}; {hint}")
        node = node._get_node(part)
    if override.is_add():
        raise ConfigError(f"{override.input_line}: the key is there already; leave out the + to change its value")


def _check_hydra(composed: DictConfig) -> None:
    """Check that the files of a user's own directory change nothing of Hydra that runs code or writes files."""
    for key in FIXED if users_directory.get() else ():
        node = OmegaConf.select(composed.hydra, key)
        if (OmegaConf.to_container(node) if OmegaConf.is_config(node) else node) != _fixed_settings()[key]:
            raise ConfigError(f"hydra.{key}: a file in --config-dir sets it, and flowlab does not pass it to Hydra")


@cache
def _fixed_settings() -> dict[str, Any]:
    """Hydra's settings that no file of a user may change, as flowlab's own YAML has them."""
    with use_directory(None), initialize_hydra():
        nodes = {key: OmegaConf.select(_try_compose([]).hydra, key) for key in FIXED}  # type: ignore[union-attr]
    return {key: OmegaConf.to_container(node) if OmegaConf.is_config(node) else node for key, node in nodes.items()}


def _try_compose(overrides: Sequence[str]) -> DictConfig | Exception:
    """Compose some overrides; gives the error if they cannot be composed."""
    directory = users_directory.get()
    users = [f"hydra.searchpath=['file://{directory}']"] if directory else []
    try:
        return hydra_compose("config", overrides=[*overrides, *users], return_hydra_config=True)
    except Exception as error:  # Hydra and OmegaConf fail in many ways on values that they do not expect
        return error


def _explain(error: Exception, overrides: Sequence[str]) -> str:
    """Describe an error of Hydra in one line: the first override that raises it, and the cause."""
    tried = (overrides[:count] for count in range(1, len(overrides) + 1))
    culprit = next((some[-1] for some in tried if isinstance(_try_compose(some), Exception)), "")
    said = shorten(error)
    if said.startswith("Error resolving interpolation '${target}'"):  # a setting that a target adds to training
        return f"{culprit}: a group has one option: {culprit.lstrip('~').partition('=')[0]}=OPTION"
    if said.startswith("Error merging override") and error.__cause__:
        said = str(error.__cause__).splitlines()[0]
        said = next((better for part, better in PLAIN_WORDS.items() if part in said), said)
    if not isinstance(error, HydraException):
        return f"{culprit}: Hydra cannot use it: {said}"
    return said if culprit.partition("=")[0].lstrip("+~") in said else f"{culprit}: {said}"
