"""Write files atomically: a reader finds the old content or the new, never a part. Read and write JSON."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flowlab.config.errors import ConfigError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class WriteError(OSError):
    """A file cannot be written; the message names the file and the reason, and `advice` tells how to continue."""

    advice = ""

    def __str__(self) -> str:
        return f"{self.filename}: cannot be written: {self.strerror}{self.advice}"


@contextlib.contextmanager
def raise_write_error(path: Path) -> Iterator[None]:
    """Replace a system error inside the block by a WriteError that names the file.

    Raises:
        WriteError: the block raised an OSError.
    """
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(error.errno, error.strerror or str(error), str(path)) from error


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file next to `path`, flush it to the disk, then rename it to `path`.

    Raises:
        WriteError: the file cannot be written; the old content of `path` is still there.
    """
    part = part_path(path)
    with raise_write_error(path):
        part.unlink(missing_ok=True)  # it may be a symbolic link
        try:
            write(part)
            sync(part)
            os.replace(part, path)
        except BaseException:
            with contextlib.suppress(OSError):  # the disk may refuse this too
                part.unlink()
            raise
        with contextlib.suppress(OSError):  # some file systems cannot flush a directory
            sync(path.parent)  # a power failure would otherwise undo the rename


def sync(path: Path) -> None:
    """Flush a file or a directory from memory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def part_path(path: Path) -> Path:
    """Return the temporary path of a file that is being written; a killed process leaves it behind."""
    return path.with_name(f".{path.name}.part")


def remove_parts(directory: Path) -> None:
    """Remove the temporary files that killed processes have left anywhere below a directory."""
    for part in directory.rglob(".*.part"):
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    write_atomically(path, lambda part: part.write_bytes(content))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write standard JSON: NaN and infinity become null."""
    write_text(path, _to_json(content))


def overwrite_json(path: Path, content: dict[str, Any]) -> None:
    """Write a small JSON file in place: on a full disk its block can be used again.

    Raises:
        WriteError: the content does not fit into that block; the old content is still there.
    """
    text = _to_json(content).encode()
    with raise_write_error(path), open(path, "rb+", buffering=0) as file:
        os.posix_fallocate(file.fileno(), 0, len(text))
        file.write(text)
        file.truncate()


def _to_json(content: dict[str, Any]) -> str:
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in content.items()
    }
    return json.dumps(finite, indent=2, allow_nan=False) + "\n"


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; it is empty if there is no file.

    Raises:
        ConfigError: the file is damaged, or does not hold an object.
    """
    if path.exists() and not path.is_file():
        raise ConfigError(f"{path}: cannot be read: it is not a file; move it away")
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: cannot be read: it does not hold an object")
    return content
