"""Files of a run or a sweep directory, which may come from a stranger: read as data, and written to no other place."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from flowlab.config.compose import flat, parse_overrides
from flowlab.config.errors import ConfigError

# What a manifest may say to Hydra again: how a sweep is carried out, by values that are words or numbers alone. Others,
# as the shell lines of hydra.launcher.setup, are code.
REPLAYED = re.compile(
    r"hydra/(launcher|sweeper)|hydra\.(verbose|sweep\.(dir|subdir)|launcher\.(processes|memory_gb|partition|account|qos"
    r"|nodes|timeout_min|tasks_per_node|cpus_per_task|gpus_per_node|mem_gb|array_parallelism))"
)
DEEPEST = 20  # levels of a config.yaml; flowlab writes 4
PLAIN = re.compile(r"[\w.,:+-]*")
RESOLVER = re.compile(r"\$\{.*:", re.DOTALL)  # ${oc.env:NAME} and its like; ${flow.depth} is harmless


def read_plain_yaml(path: Path) -> dict[str, Any]:
    """Read a mapping of plain values: no tags, no aliases, and nothing that OmegaConf would replace by something else.

    Raises:
        ConfigError: it is damaged, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
        _check_finite(text)
        content = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except Exception as error:  # whatever the YAML parser raises on a damaged file
        raise ConfigError(f"{path}: cannot be read: {' '.join(str(error).split()) or 'no mapping'}") from None
    if not isinstance(content, dict) or not content:
        raise ConfigError(f"{path}: does not hold a configuration")
    values = {str(key): value for key, value in content.items()}
    for name, value in flat(values).items():
        if "${" in str(value):
            raise ConfigError(f"{path}: {name}={value!r}: a run directory holds plain values; ${{...}} is not replaced")
    return values


def _check_finite(text: str) -> None:
    """Refuse what a few lines of YAML can make endless: values of values of values; no run has written such."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST or isinstance(event, yaml.AliasEvent):
            raise ValueError(f"line {event.start_mark.line + 1} holds an alias, or values {DEEPEST} levels deep")


def printable(text: str) -> str:
    """Text without what a terminal would obey: control characters become what Python calls them.

    Example:
        >>> from flowlab.config.untrusted import printable
        >>> print(printable("a\\x1b]0;title\\x07 b"))
        a\\x1b]0;title\\x07 b
    """
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def forget_pickles(sweep: Path) -> None:
    """Remove the pickles by which submitit hands over jobs and results: it would load those that lie there already."""
    for path in sweep.glob(".submitit/**/*.pkl"):
        path.unlink()


def check_links(directory: Path) -> None:
    """See that no link below a directory leads out of it, so that what is written there stays there.

    Raises:
        ConfigError: one does.
    """
    root = directory.resolve()
    for parent, directories, files in os.walk(directory):
        for path in (Path(parent, name) for name in (*directories, *files)):
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise ConfigError(f"{path}: is a link out of {directory}, through which nothing is written; remove it")


def check_replayed(path: Path, words: Sequence[str]) -> None:
    """See that the words of a manifest ask for runs of flowlab and nothing else.

    Arguments:
        path: of the manifest, for the message.
        words: overrides, as on a command line.

    Raises:
        ConfigError: one could run code, write elsewhere or read the environment.
    """
    for override in parse_overrides(words):
        word, key = str(override.input_line), override.key_or_group
        of_hydra = key.startswith("hydra") or (override.package or "").startswith("hydra")
        wanders = of_hydra and (override.package or not REPLAYED.fullmatch(key))
        value = word.partition("=")[2]
        told = key.startswith("hydra.launcher.") and not PLAIN.fullmatch(value)
        if wanders or told or RESOLVER.search(word):
            raise ConfigError(
                f"{path}: {word}: is not done because a file says so; if it is yours, give all words of the sweep "
                f"again: -m sweep_resume={path.parent} WORD ..."
            )
