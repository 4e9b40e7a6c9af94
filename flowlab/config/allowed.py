"""The allow-list: the packages whose classes a configuration may name.

Importing a module and building an object both run code, so a name is checked against the list before any import. The
list is no part of a configuration, or a stranger's run directory would allow itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import fields
from importlib import import_module
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from flowlab.config.errors import ConfigError
from flowlab.config.schema import RunConfig
from flowlab.config.secrets import is_secret_setting, secret_in

VARIABLE = "FLOWLAB_ALLOW"
DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")

# Classes that Hydra builds by itself: its installed plugins, and Optuna's samplers.
BUILT_BY_HYDRA = {
    "hydra.launcher._target_": re.compile(r"hydra\._internal\.core_plugins\.\w+\.\w+|hydra_plugins\.[\w.]+Launcher"),
    "hydra.sweeper._target_": re.compile(r"hydra\._internal\.core_plugins\.\w+\.\w+|hydra_plugins\.[\w.]+Sweeper"),
    "hydra.sweeper.sampler._target_": re.compile(r"optuna\.samplers\.\w+Sampler"),
}
CODE_KEYS = ("_target_", "custom_search_space")  # the second names a function, for Optuna's sweeper
# Settings of Hydra that a user may give. Others run code (callbacks, logging), read files (searchpath) or write them.
HYDRA = re.compile(r"hydra\.(run\.dir|sweep\.(dir|subdir)|(launcher|sweeper)(\..+)?|verbose|output_subdir|job\.chdir)")
RUN_KEYS = {item.name for item in fields(RunConfig)}  # keys outside any group


def allow(*packages: str) -> None:
    """Let configurations name classes of some packages, in this process and in the processes that it starts.

    Arguments:
        packages: their names, such as "mypackage" or "mypackage.flows".

    Raises:
        ConfigError: a name is not the name of a package.

    Example:
        >>> import flowlab, os
        >>> flowlab.allow("mypackage")
        >>> os.environ.pop("FLOWLAB_ALLOW")
        'mypackage'
    """
    names = list(dict.fromkeys([*allowed_packages(), *packages]))
    _check_names(names)
    os.environ[VARIABLE] = ",".join(names)


def allowed_packages() -> list[str]:
    """The packages in FLOWLAB_ALLOW.

    Raises:
        ConfigError: the variable holds something else than names of packages.
    """
    names = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    _check_names(names)
    return names


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if not DOTTED.fullmatch(name):
            raise ConfigError(f"{VARIABLE}: {name!r} is not the name of a package; separate several by commas")


def check_name(where: str, path: Any) -> None:
    """Check that the dotted name of a class is in an allowed package, without importing it.

    Arguments:
        where: the key that holds the name, for the message.
        path: the name.

    Raises:
        ConfigError: it is not a dotted name, or its package is not allowed.
    """
    if not isinstance(path, str) or not DOTTED.fullmatch(path) or "." not in path:
        raise ConfigError(f"{where}={path!r}: must be the name of a class: {where}=package.Class")
    if not _is_allowed(path):
        package = path.partition(".")[0]
        raise ConfigError(
            f"{where}={path}: the package {package} is not allowed; if you trust its code, set {VARIABLE}={package} "
            f"in the environment, or call flowlab.allow({package!r}) in Python"
        )


def _is_allowed(path: str) -> bool:
    return any(path == package or path.startswith(f"{package}.") for package in ("flowlab", *allowed_packages()))


def load_class(where: str, path: Any, kinds: tuple[type, ...]) -> type:
    """Import the class with a dotted name.

    The class must be defined at the top of a module in an allowed package. A class that such a module has imported from
    elsewhere is refused.

    Arguments:
        where: the key that holds the name, for the message.
        path: the name.
        kinds: the class must be derived from one of these.

    Raises:
        ConfigError: the name is not allowed, the class does not exist, or it has another base class.
    """
    check_name(where, path)
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except ConfigError:
        raise
    except Exception as error:  # whatever a module raises when it is imported
        raise ConfigError(f"{where}={path}: cannot be imported: {type(error).__name__}: {error}") from error
    wanted = " or ".join(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds)
    if not isinstance(found, type) or not issubclass(found, kinds):
        raise ConfigError(f"{where}={path}: must be a class derived from {wanted}")
    if not _is_allowed(found.__module__):
        raise ConfigError(
            f"{where}={path}: is defined in {found.__module__}, which is not allowed; name the class there"
        )
    return found


def check_overrides(overrides: Sequence[Override]) -> None:
    """Check that the words of a command line hold no secret, and change nothing that Hydra runs, reads or writes.

    Raises:
        ConfigError: a word does.
    """
    for override in overrides:
        word, key = str(override.input_line), override.key_or_group
        name, _, value = word.partition("=")
        if is_secret_setting(name, value) or secret_in(value):
            raise ConfigError(
                f"{name}: a secret does not belong on a command line; set an environment variable instead"
            )
        if ("/" in key or ("." not in key and key not in RUN_KEYS)) and re.search(r"[/\\]|\.\.|\$\{", value):
            raise ConfigError(f"{name}={value}: an option is a word, not a path")
        of_hydra = [part for part in (key, override.package or "") if re.match(r"hydra\b", part)]
        if of_hydra and (override.package or not ("/" in key or HYDRA.fullmatch(key))):
            raise ConfigError(
                f"{word}: flowlab does not pass this setting to Hydra; allowed: hydra.run.dir, hydra.sweep.dir, "
                "hydra.sweep.subdir, hydra.launcher.KEY, hydra.sweeper.KEY and hydra.verbose"
            )


def check_targets(composed: DictConfig) -> None:
    """Check that a composed configuration names allowed code alone, without importing it.

    Raises:
        ConfigError: a `_target_` names a package that is not allowed.
    """
    _check_targets(OmegaConf.to_container(composed, resolve=False), "", composed)


def _check_targets(node: Any, where: str, composed: DictConfig) -> None:
    node = _resolve(node, where, composed)
    if isinstance(node, list):
        for number, part in enumerate(node):
            _check_targets(part, f"{where}[{number}]", composed)
    for key, value in node.items() if isinstance(node, dict) else ():
        name = f"{where}.{key}" if where else str(key)
        if key not in CODE_KEYS:
            _check_targets(value, name, composed)
            continue
        path, known = _resolve(value, name, composed), BUILT_BY_HYDRA.get(name)
        if path not in (None, "???") and not (known and known.fullmatch(str(path))):
            check_name(name, path)


def _resolve(node: Any, where: str, composed: DictConfig) -> Any:
    """Resolve an interpolation; one without a value yet, such as Hydra's before a job begins, stays as it is."""
    if not isinstance(node, str) or "${" not in node:
        return node
    try:
        found = OmegaConf.select(composed, where)
    except OmegaConfBaseException:
        return node
    return OmegaConf.to_container(found, resolve=False) if isinstance(found, DictConfig | ListConfig) else found
