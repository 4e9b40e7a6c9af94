"""Run and sweep directories, which may come from a stranger: they are read as data, and nothing is written outside."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from flowlab.config.compose import parse_overrides
from flowlab.config.errors import ConfigError
from flowlab.config.schema import flat

# Hydra's settings that a manifest may repeat: they say how a sweep runs, and their values are words or numbers. Others,
# such as the shell lines in hydra.launcher.setup, are code.
REPLAYED = re.compile(
    r"hydra/(launcher|sweeper)|hydra\.(verbose|sweep\.(dir|subdir)|launcher\.(processes|memory_gb|partition|account|qos"
    r"|nodes|timeout_min|tasks_per_node|cpus_per_task|gpus_per_node|mem_gb|array_parallelism))"
)
DEEPEST = 20  # levels of a config.yaml; flowlab writes 4
PLAIN = re.compile(r"[\w.,:+-]*")
RESOLVER = re.compile(r"\$\{.*:", re.DOTALL)  # ${oc.env:NAME} and its like; ${flow.depth} is harmless


def read_plain_yaml(path: Path) -> dict[str, Any]:
    """Read plain values from a YAML file; raise ConfigError if it is damaged or holds a tag, an alias or `${...}`."""
    try:
        content = copy.deepcopy(_parse(path.read_text(encoding="utf-8")))
    except Exception as error:  # whatever the YAML parser raises on a damaged file
        raise ConfigError(f"{path}: cannot be read: {' '.join(str(error).split()) or 'no mapping'}") from None
    if not isinstance(content, dict) or not content:
        raise ConfigError(f"{path}: does not hold a configuration")
    values = {str(key): value for key, value in content.items()}
    for name, value in flat(values).items():
        if "${" in str(value):
            raise ConfigError(f"{path}: {name}={value!r}: a run directory holds plain values; ${{...}} is not replaced")
    return values


@lru_cache(maxsize=1024)  # a summary reads the files of a sweep more than once
def _parse(text: str) -> Any:
    _check_finite(text)
    return OmegaConf.to_container(OmegaConf.create(text), resolve=False)


def _check_finite(text: str) -> None:
    """Raise ValueError for YAML of a few lines that expands without end, by aliases or deep nesting."""
    depth = 0
    for event in yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # libyaml's is ten times as fast
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST or isinstance(event, yaml.AliasEvent):
            raise ValueError(f"line {event.start_mark.line + 1} holds an alias, or values {DEEPEST} levels deep")


def printable(text: str) -> str:
    """Text that is safe to print: control characters, which a terminal would obey, become Python's escapes.

    Example:
        >>> from flowlab.config.untrusted import printable
        >>> print(printable("a\\x1b]0;title\\x07 b"))
        a\\x1b]0;title\\x07 b
    """
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def forget_pickles(sweep: Path) -> None:
    """Remove the pickles of jobs and results from a sweep directory; submitit would load them, and run their code."""
    for path in sweep.glob(".submitit/**/*.pkl"):
        path.unlink()


def check_links(directory: Path) -> None:
    """Raise ConfigError if a link below a directory leads out of it, so nothing is written outside."""
    root = directory.resolve()
    for parent, directories, files in os.walk(directory):
        for path in (Path(parent, name) for name in (*directories, *files)):
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise ConfigError(f"{path}: is a link out of {directory}; flowlab writes through none; remove it")


def check_replayed(path: Path, words: Sequence[str]) -> None:
    """Raise ConfigError if a word in a manifest could run code, write outside the sweep or read the environment.

    Arguments:
        path: the manifest, for the message.
        words: overrides, as on a command line.
    """
    for override in parse_overrides(words):
        word, key = str(override.input_line), override.key_or_group
        is_for_hydra = key.startswith("hydra") or (override.package or "").startswith("hydra")
        is_harmless = not override.package and REPLAYED.fullmatch(key)
        is_code = key.startswith("hydra.launcher.") and not PLAIN.fullmatch(word.partition("=")[2])
        if (is_for_hydra and not is_harmless) or is_code or RESOLVER.search(word):
            raise ConfigError(
                f"{path}: {word}: a manifest may not ask for this, because it could run code, write outside the sweep "
                f"or read the environment; if it is yours, give all words of the sweep again: "
                f"-m sweep_resume={path.parent} WORD ..."
            )
