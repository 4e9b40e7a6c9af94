"""The code that a configuration may name: flowlab's own, and packages that the user allows outside of it.

To build an object is to run code, and to import a module too. So a name is held against the list before anything is
imported; and the list is not part of a configuration, or the run directory of a stranger would allow itself.
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

# What Hydra builds by itself: of its plugins, which it takes from what is installed alone, and of Optuna's samplers.
BUILT_BY_HYDRA = {
    "hydra.launcher._target_": re.compile(r"hydra\._internal\.core_plugins\.\w+\.\w+|hydra_plugins\.[\w.]+Launcher"),
    "hydra.sweeper._target_": re.compile(r"hydra\._internal\.core_plugins\.\w+\.\w+|hydra_plugins\.[\w.]+Sweeper"),
    "hydra.sweeper.sampler._target_": re.compile(r"optuna\.samplers\.\w+Sampler"),
}
NAMES_OF_CODE = ("_target_", "custom_search_space")  # the second is a function of Optuna's sweeper
# Hydra's own settings that can be given. Others run code (callbacks, logging), read files (searchpath) or write them.
HYDRA = re.compile(r"hydra\.(run\.dir|sweep\.(dir|subdir)|(launcher|sweeper)(\..+)?|verbose|output_subdir|job\.chdir)")


NUMBERS = {item.name for item in fields(RunConfig)}  # keys outside any group


def allow(*packages: str) -> None:
    """Let configurations name classes of these packages, in this process and in those that it starts.

    Arguments:
        packages: by name, as "mypackage" or "mypackage.flows".

    Raises:
        ConfigError: it is not the name of a package.

    Example:
        >>> import flowlab, os
        >>> flowlab.allow("mypackage")
        >>> os.environ.pop("FLOWLAB_ALLOW")
        'mypackage'
    """
    names = list(dict.fromkeys([*allowed(), *packages]))
    _check_names(names)
    os.environ[VARIABLE] = ",".join(names)


def allowed() -> list[str]:
    """The packages of the user that configurations may name.

    Raises:
        ConfigError: FLOWLAB_ALLOW does not hold names of packages.
    """
    names = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    _check_names(names)
    return names


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if not DOTTED.fullmatch(name):
            raise ConfigError(f"{VARIABLE}: {name!r} is not the name of a package; several have commas between them")


def check_name(where: str, path: Any) -> None:
    """Refuse the dotted name of a class in a package that is not allowed; imports nothing.

    Arguments:
        where: the key that holds it, for the message.
        path: the name.

    Raises:
        ConfigError: it is no such name, or not allowed.
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
    return any(path == package or path.startswith(f"{package}.") for package in ("flowlab", *allowed()))


def load_class(where: str, path: Any, kinds: tuple[type, ...]) -> type:
    """The class of a dotted name, of one of some kinds.

    It must stand at the top of a module and be defined in a package that is allowed: what a module has imported from
    elsewhere is not reached through it.

    Raises:
        ConfigError: the name is not allowed, there is no such class, or it is of another kind.
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
        raise ConfigError(f"{where}={path}: is defined in {found.__module__}, which is not allowed; name it there")
    return found


def check_overrides(overrides: Sequence[Override]) -> None:
    """Refuse words of a command line that hold a secret, or reach for what Hydra would run, read or write.

    Raises:
        ConfigError: one does.
    """
    for override in overrides:
        word, key = str(override.input_line), override.key_or_group
        name, _, value = word.partition("=")
        if is_secret_setting(name, value) or secret_in(value):
            raise ConfigError(f"{name}: a secret does not belong on a command line; use the environment")
        if ("/" in key or ("." not in key and key not in NUMBERS)) and re.search(r"[/\\]|\.\.|\$\{", value):
            raise ConfigError(f"{name}={value}: an option is named by a word, not by a path")
        of_hydra = [part for part in (key, override.package or "") if re.match(r"hydra\b", part)]
        if of_hydra and (override.package or not ("/" in key or HYDRA.fullmatch(key))):
            raise ConfigError(
                f"{word}: is not a setting that flowlab hands on to Hydra; of Hydra's there are hydra.run.dir, "
                "hydra.sweep.dir, hydra.sweep.subdir, hydra.launcher.KEY, hydra.sweeper.KEY and hydra.verbose"
            )


def check_targets(composed: DictConfig) -> None:
    """Refuse a composed configuration that names code which is not allowed, anywhere; nothing is imported.

    Raises:
        ConfigError: a `_target_` of a package that is not allowed.
    """
    _check_targets(OmegaConf.to_container(composed, resolve=False), "", composed)


def _check_targets(node: Any, where: str, composed: DictConfig) -> None:
    node = _resolved(node, where, composed)
    if isinstance(node, list):
        for number, part in enumerate(node):
            _check_targets(part, f"{where}[{number}]", composed)
    for key, value in node.items() if isinstance(node, dict) else ():
        name = f"{where}.{key}" if where else str(key)
        if key not in NAMES_OF_CODE:
            _check_targets(value, name, composed)
            continue
        path, known = _resolved(value, name, composed), BUILT_BY_HYDRA.get(name)
        if path not in (None, "???") and not (known and known.fullmatch(str(path))):
            check_name(name, path)


def _resolved(node: Any, where: str, composed: DictConfig) -> Any:
    """What an interpolation gives; one that gives nothing yet, as some of Hydra's do before a job begins, is itself."""
    if not isinstance(node, str) or "${" not in node:
        return node
    try:
        found = OmegaConf.select(composed, where)
    except OmegaConfBaseException:
        return node
    return OmegaConf.to_container(found, resolve=False) if isinstance(found, DictConfig | ListConfig) else found
