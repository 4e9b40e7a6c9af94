"""Checks of a configuration: it names classes of allowed packages and holds no secrets. SECURITY.md lists the rules.

Importing a module and building an object both run code, so a name is checked against the allow-list before any import.
The list is no part of a configuration, or a stranger's run directory would allow itself. Secrets must not be written
down: they are recognized in text, taken out of it, and refused in a configuration.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from flowlab.config.directories import conf_directory
from flowlab.config.errors import ConfigError

VARIABLE = "FLOWLAB_ALLOW"
DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")

# Classes that Hydra builds by itself: its installed plugins, and Optuna's samplers.
BUILT_BY_HYDRA = {
    "hydra.launcher._target_": re.compile(r"hydra\._internal\.core_plugins\.\w+\.\w+|hydra_plugins\.[\w.]+Launcher"),
    "hydra.sweeper._target_": re.compile(r"hydra\._internal\.core_plugins\.\w+\.\w+|hydra_plugins\.[\w.]+Sweeper"),
    "hydra.sweeper.sampler._target_": re.compile(r"optuna\.samplers\.\w+Sampler"),
}
CODE_KEYS = ("_target_", "custom_search_space")  # the second names a function, for Optuna's sweeper

REDACTED = "<redacted>"
SHORTEST = 8  # characters of an environment variable's value that is looked for in text

# A name whose value is a secret: WANDB_API_KEY, client_secret, DB_PASSWORD.
NAME = re.compile(r"(?:key|token|secret|passw(?:or)?d|passphrase)s?$", re.IGNORECASE)

# The same in text, name=value. A plain `key=` there is code, such as sorted(rows, key=len).
ASSIGNED = re.compile(
    r"((?:(?:api|access|secret|private|auth)[_-]?key|token|secret|passw(?:or)?d|passphrase)s?=[\"']?)[^\s\"',;&)}\]]+",
    re.IGNORECASE,
)

# Tokens by their first letters: Hugging Face, GitHub, W&B, GitLab, Slack, OpenAI, AWS.
TOKEN = re.compile(
    r"\b(?:(?:hf_|gh[opsur]_)(?=[a-z]*[A-Z\d])[A-Za-z\d]{16,}"
    r"|(?:wandb_v\d_|github_pat_|glpat-|xox[abeprs]-|sk-)(?=[\w-]*[A-Z\d])[\w-]{16,}|AKIA[A-Z\d]{16}\b)"
)
# An older key of W&B. A commit looks the same, so in a configuration it is a key only where it is the whole value.
HEX = re.compile(r"\b[\da-f]{40}\b")

# Who logs in, in an address: https://name:password@host. `git@` is no person.
LOGIN = re.compile(r"(\b[a-z][\w+.-]{0,20}://)(?!git@)[^\s/@'\"]+@", re.IGNORECASE)

# A number, a switch, or a range of numbers in a sweep.
NUMBER = re.compile(r"\d{1,7}|true|false|null|range|interval|choice|int|float", re.IGNORECASE)


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
    _check_names(packages)
    names = dict.fromkeys([*allowed_packages(), *packages])
    os.environ[VARIABLE] = ",".join(names)


def allowed_packages() -> list[str]:
    """The packages in FLOWLAB_ALLOW; raise ConfigError if it holds something else than names of packages."""
    names = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    _check_names(names)
    return names


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if not isinstance(name, str) or not DOTTED.fullmatch(name):
            raise ConfigError(f"{VARIABLE}: {name!r} is not the name of a package; separate several by commas")


def check_name(where: str, path: Any) -> None:
    """Raise ConfigError unless the dotted name of a class, given by the key `where`, is in an allowed package.

    Nothing is imported.
    """
    if not isinstance(path, str) or not DOTTED.fullmatch(path) or "." not in path:
        raise ConfigError(f"{where}={path!r}: must be the name of a class: {where}=package.Class")
    if not is_allowed(path):
        package = path.partition(".")[0]
        raise ConfigError(
            f"{where}={path}: the package {package} is not allowed; if you trust its code, set {VARIABLE}={package} "
            f"in the environment, or call flowlab.allow({package!r}) in Python"
        )


def is_allowed(path: str) -> bool:
    """Whether a dotted name lies in an allowed package."""
    return any(path == package or path.startswith(f"{package}.") for package in ("flowlab", *allowed_packages()))


def check_targets(composed: DictConfig, where: str = "", node: Any = None) -> None:
    """Raise ConfigError if a `_target_` of a composed configuration names a package that is not allowed.

    Nothing is imported. `where` and `node` are the key and the plain values of a part that is checked alone.
    """
    node = _resolve(node, where, composed) if where else OmegaConf.to_container(composed, resolve=False)
    if isinstance(node, list):
        for number, part in enumerate(node):
            check_targets(composed, f"{where}[{number}]", part)
    for key, value in node.items() if isinstance(node, dict) else ():
        name = f"{where}.{key}" if where else str(key)
        if key not in CODE_KEYS:
            check_targets(composed, name, value)
            continue
        path, known = _resolve(value, name, composed), BUILT_BY_HYDRA.get(name)
        if path not in (None, "???") and not (known and known.fullmatch(str(path))):
            check_name(name, path)


def _resolve(node: Any, where: str, composed: DictConfig) -> Any:
    """Resolve an interpolation; one without a value yet, such as Hydra's before a job begins, stays unchanged."""
    if not isinstance(node, str) or "${" not in node:
        return node
    try:
        found = OmegaConf.select(composed, where)
    except OmegaConfBaseException:
        return node
    return OmegaConf.to_container(found, resolve=False) if isinstance(found, DictConfig | ListConfig) else found


def redact(text: str) -> str:
    """Text without the secrets that are recognized in it.

    Example:
        >>> from flowlab.config.security import redact
        >>> redact("401 for https://me:pa55@host/x with api_key=abc")
        '401 for https://<redacted>@host/x with api_key=<redacted>'
    """
    for _, value in _environment_secrets():
        text = text.replace(value, REDACTED)
    text = LOGIN.sub(rf"\1{REDACTED}@", text)
    text = HEX.sub(REDACTED, TOKEN.sub(REDACTED, text))
    return ASSIGNED.sub(lambda found: found[0] if _is_number(found) else found[1] + REDACTED, text)


def _is_number(found: re.Match[str]) -> bool:
    """Whether an assignment in text gives a number, as in `flow.n_tokens=8: must be at most 4`."""
    return NUMBER.fullmatch(found[0].removeprefix(found[1]).rstrip(":.")) is not None


def redact_command(words: Sequence[str]) -> list[str]:
    """The words of a command line without the values of secrets.

    Example:
        >>> from flowlab.config.security import redact_command
        >>> redact_command(["train.py", "logger.api_key=abc", "--token", "xyz", "seed=1"])
        ['train.py', 'logger.api_key=<redacted>', '--token', '<redacted>', 'seed=1']
    """
    clean, hidden = [], False
    for word in words:
        name, separator, value = word.partition("=")
        if hidden and not word.startswith("-"):
            clean.append(REDACTED)
        elif separator and is_secret_setting(name, value):
            clean.append(f"{name}={REDACTED}")
        else:
            clean.append(redact(word))
        hidden = not separator and word.startswith("-") and NAME.search(word) is not None
    return clean


def is_secret_setting(name: str, value: str) -> bool:
    """Whether the name of a setting says that its value is a secret; numbers are none: `flow.n_tokens=8,16`."""
    return NAME.search(name) is not None and not all(map(NUMBER.fullmatch, re.findall(r"\w+", value)))


def secret_in(text: str) -> str | None:
    """The kind of secret that is recognized in a text, in words; None without one."""
    for name, value in _environment_secrets() if len(text) >= SHORTEST else ():
        if value in text:
            return f"the value of the environment variable {name}"
    if any(":" in found[0].partition("://")[2] for found in LOGIN.finditer(text)):
        return "an address with a password in it"
    if TOKEN.search(text) or HEX.fullmatch(text.strip(" '\"")):
        return "what looks like a key"
    if not all(map(_is_number, ASSIGNED.finditer(text))):
        return "a value beside the name of a secret"
    return None


def check_words(words: Sequence[str]) -> None:
    """Raise ConfigError if a word KEY=VALUE of a command line holds a secret."""
    for word in words:
        name, _, value = word.partition("=")
        if is_secret_setting(name, value) or secret_in(value):
            raise ConfigError(
                f"{name}: a secret does not belong on a command line; set an environment variable instead"
            )


def check_written(value: Any, where: str = "") -> None:
    """Raise ConfigError if plain values hold a secret, because they are written into the run directory.

    The message names the key, which begins with `where`, and not the value.
    """
    if isinstance(value, dict):
        for name, part in value.items():
            check_written(part, f"{where}.{name}" if where else str(name))
        return
    if isinstance(value, list):
        for part in value:
            check_written(part, where)
        return
    is_named = isinstance(value, str) and is_secret_setting(where, value)
    if why := "a value whose name says that it is a secret" if is_named else secret_in(str(value)):
        raise ConfigError(
            f"{where}: holds {why}; a configuration is written down and must not hold a secret: use the environment"
        )


def _environment_secrets() -> Iterator[tuple[str, str]]:
    """The environment variables whose values are secrets, the longest value first.

    A path, a number and a word of flowlab's own configuration are none.
    """
    named = [(name, value) for name, value in os.environ.items() if NAME.search(name) and len(value) >= SHORTEST]
    for name, value in sorted(named, key=lambda item: -len(item[1])):
        if not value.isdigit() and not os.path.exists(value) and value not in _own_words():
            yield name, value


@cache
def _own_words() -> set[str]:
    """The keys and options of flowlab's YAML: hiding `ray_cluster` in a list of launchers protects nobody."""
    files = conf_directory().rglob("*.yaml")
    return {word for path in files for word in re.findall(r"\w+", f"{path.stem} {path.read_text(encoding='utf-8')}")}
