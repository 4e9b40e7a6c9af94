"""Secrets in text that comes from elsewhere: told by name, by look, or by where else they stand, and taken out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from flowlab.config.errors import ConfigError

REDACTED = "<redacted>"

# Of a setting or a variable whose value is a secret: MY_API_KEY, client_secret, AWS_ACCESS_KEY_ID.
NAME = re.compile(
    r"(?:key|token|secret|passwo?r?d|passphrase|(?<![a-z])pass|credential|cookie|bearer)s?(?:_?(?:id|value|\d+))?$",
    re.IGNORECASE,
)
# What services give out, told by how it begins: W&B, Hugging Face, GitHub, GitLab, Slack, AWS, Google, OpenAI and those
# like it, JSON web tokens, private keys.
LOOK = re.compile(
    r"\bwandb_v\d_\w{16,}|\bhf_(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{16,}|\bgh[opsur]_[A-Za-z0-9]{16,}|\bgithub_pat_\w{16,}"
    r"|\bglpat-[\w-]{16,}|\bxox[abeprs]-[\w-]{10,}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[\w-]{30,}"
    r"|\bsk-(?=[\w-]*\d)[\w-]{16,}|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----(?:.*?-----END [A-Z ]*PRIVATE KEY-----)?",
    re.DOTALL,
)
# An older key of W&B; also a commit or the hash of a file, which costs a reader little.
HEX = re.compile(r"\b[0-9a-fA-F]{40,}\b")
IN_URL = re.compile(r"(\b[a-z][\w+.-]{0,20}://)(?!git@)[^\s/@'\"]+@", re.IGNORECASE)
PASSWORD_IN_URL = re.compile(r"\b[a-z][\w+.-]{0,20}://[^\s/@:]*:[^\s/@]+@", re.IGNORECASE)
SCHEME = re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE)
# In prose a plain `key: value` is a message about a key: a name must say more.
IN_PROSE = r"(?:(?:api|access|secret|private|auth)[_-]?key|token|secret|password|passwd|passphrase|credentials?)"
VALUE = r"[^\s\"',;&)}\]]"
ASSIGNED = re.compile(rf"({IN_PROSE}[\"']?\s*=\s*[\"']?){VALUE}+", re.IGNORECASE)
# After a colon a message may go on; a value has a digit, is long, or is all that follows.
TOLD = re.compile(
    rf"({IN_PROSE}[\"']?\s*:\s*[\"']?)(?:(?={VALUE}*\d){VALUE}+|{VALUE}{{12,}}|{VALUE}+(?=[\"']?\s*(?:[,;)}}\]]|$)))",
    re.IGNORECASE | re.MULTILINE,
)
OPTION = re.compile(rf"(--?[\w.-]{{0,40}}{IN_PROSE}\s+)[^\s\"']+", re.IGNORECASE)

# A word of numbers, of their ranges, or of a switch.
NUMBER = re.compile(r"\d{1,7}|true|false|null|range|interval|choice|int|float", re.IGNORECASE)

SHORTEST = 8  # characters of a variable's value that is looked for in text


def redact(text: str) -> str:
    """Text with every secret in it taken out, as far as it can be told.

    Example:
        >>> from flowlab.config.secrets import redact
        >>> redact("401 for https://me:pa55@host/x with api_key=abc")
        '401 for https://<redacted>@host/x with api_key=<redacted>'
    """
    for _, value in _of_the_environment():
        text = text.replace(value, REDACTED)
    text = IN_URL.sub(rf"\1{REDACTED}@", text)
    text = SCHEME.sub(rf"\1 {REDACTED}", text)
    text = LOOK.sub(REDACTED, text)
    for named in (ASSIGNED, TOLD, OPTION):
        text = named.sub(rf"\1{REDACTED}", text)
    return HEX.sub(REDACTED, text)


def redact_command(words: Sequence[str]) -> list[str]:
    """The words of a command line with the values of secrets taken out.

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
    """Whether a setting is a secret by its name; numbers are not: `flow.n_tokens=8,16`."""
    return NAME.search(name) is not None and not all(map(NUMBER.fullmatch, re.findall(r"\w+", value)))


def secret_in(value: str) -> str | None:
    """Why a value must not be written down, in words; None where nothing speaks against it."""
    for name, secret in _of_the_environment():
        if secret in value:
            return f"the value of the environment variable {name}"
    if PASSWORD_IN_URL.search(value):
        return "an address with a password in it"
    if LOOK.search(value) or HEX.fullmatch(value.strip(" '\"")):
        return "what looks like a key"
    for named in (ASSIGNED, TOLD):
        if any(not NUMBER.fullmatch(found[0].removeprefix(found[1])) for found in named.finditer(value)):
            return "a value beside the name of a secret"
    return None


def check_written(value: Any, where: str = "") -> None:
    """Refuse a configuration, as plain values, that holds a secret, for it is written into the run directory.

    Raises:
        ConfigError: it does; the message names the key and not the value.
    """
    if isinstance(value, dict):
        for name, part in value.items():
            check_written(part, f"{where}.{name}" if where else str(name))
    elif isinstance(value, list):
        for part in value:
            check_written(part, where)
    elif why := secret_in(str(value)):
        raise ConfigError(f"{where}: holds {why}; a configuration is written down, and must not hold a secret")


def _of_the_environment() -> Iterator[tuple[str, str]]:
    """The variables whose values are secrets, the longest value first; a path or a number is none."""
    named = [(name, value) for name, value in os.environ.items() if NAME.search(name) and len(value) >= SHORTEST]
    for name, value in sorted(named, key=lambda item: -len(item[1])):
        if not value.isdigit() and not os.path.exists(value):
            yield name, value
