"""Secrets, which must not be written down: recognized in text, taken out of it, and refused in a configuration.

SECURITY.md lists what is recognized; each rule here is a line there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from flowlab.config.errors import ConfigError

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


def redact(text: str) -> str:
    """Text without the secrets that are recognized in it.

    Example:
        >>> from flowlab.config.secrets import redact
        >>> redact("401 for https://me:pa55@host/x with api_key=abc")
        '401 for https://<redacted>@host/x with api_key=<redacted>'
    """
    for _, value in _environment_secrets():
        text = text.replace(value, REDACTED)
    text = LOGIN.sub(rf"\1{REDACTED}@", text)
    text = HEX.sub(REDACTED, TOKEN.sub(REDACTED, text))
    return ASSIGNED.sub(rf"\1{REDACTED}", text)


def redact_command(words: Sequence[str]) -> list[str]:
    """The words of a command line without the values of secrets.

    Example:
        >>> from flowlab.config.secrets import redact_command
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
    for name, value in _environment_secrets():
        if value in text:
            return f"the value of the environment variable {name}"
    if any(":" in found[0].partition("://")[2] for found in LOGIN.finditer(text)):
        return "an address with a password in it"
    if TOKEN.search(text) or HEX.fullmatch(text.strip(" '\"")):
        return "what looks like a key"
    if any(not NUMBER.fullmatch(found[0].removeprefix(found[1])) for found in ASSIGNED.finditer(text)):
        return "a value beside the name of a secret"
    return None


def check_written(value: Any, where: str = "") -> None:
    """Refuse plain values that hold a secret, because they are written into the run directory.

    Arguments:
        value: a configuration, or a part of it.
        where: the key of the part.

    Raises:
        ConfigError: there is one; the message names the key and not the value.
    """
    if isinstance(value, dict):
        for name, part in value.items():
            check_written(part, f"{where}.{name}" if where else str(name))
    elif isinstance(value, list):
        for part in value:
            check_written(part, where)
    elif isinstance(value, str) and is_secret_setting(where, value):
        raise _refused(where, "a value whose name says that it is a secret")
    elif why := secret_in(str(value)):
        raise _refused(where, why)


def _refused(where: str, why: str) -> ConfigError:
    return ConfigError(
        f"{where}: holds {why}; a configuration is written down and must not hold a secret: use the environment"
    )


def _environment_secrets() -> Iterator[tuple[str, str]]:
    """The environment variables whose values are secrets, the longest value first; a path or a number is none."""
    named = [(name, value) for name, value in os.environ.items() if NAME.search(name) and len(value) >= SHORTEST]
    for name, value in sorted(named, key=lambda item: -len(item[1])):
        if not value.isdigit() and not os.path.exists(value):
            yield name, value
