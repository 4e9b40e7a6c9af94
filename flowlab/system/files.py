"""Writing files so that a reader finds either the old content or the new, never a part; and reading JSON."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flowlab.config.schemas import ConfigError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class WriteError(OSError):
    """A file could not be written: which, and why; `advice` says how to go on."""

    advice = ""

    def __str__(self) -> str:
        return f"{self.filename}: cannot be written: {self.strerror}{self.advice}"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name the file that cannot be written.

    Raises:
        WriteError: in the place of any other error of the system.
    """
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(error.errno, error.strerror or str(error), str(path)) from error


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, flush it to the disk, then put it in the place of `path`.

    Raises:
        WriteError: it cannot be written; what was at `path` is still there.
    """
    part = beside(path)
    with writing(path):
        part.unlink(missing_ok=True)  # it may be a link to somewhere else
        try:
            write(part)
            flush(part)
            os.replace(part, path)
        except BaseException:
            with contextlib.suppress(OSError):  # the disk may not let it go either
                part.unlink()
            raise
        with contextlib.suppress(OSError):  # some file systems know no flushing of a directory
            flush(path.parent)  # that holds the new name: after a power failure it would else be the old


def flush(path: Path) -> None:
    """See that a file or a directory is on the disk, and not in memory alone."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def beside(path: Path) -> Path:
    """Where a file is while it is being written; what is found there was left by a kill."""
    return path.with_name(f".{path.name}.part")


def sweep_up(directory: Path) -> None:
    """Remove what kills have left of files that were being written, anywhere below a directory."""
    for part in directory.rglob(".*.part"):
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    write_atomically(path, lambda part: part.write_bytes(content))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON as every reader takes it: numbers that are not finite become null."""
    write_text(path, _as_json(content))


def write_over(path: Path, content: dict[str, Any]) -> None:
    """Write a little JSON where a little is, on a disk with no room for another file: its block can be used again.

    Raises:
        WriteError: it takes more than that block; what was there still is.
    """
    text = _as_json(content).encode()
    with writing(path), open(path, "rb+", buffering=0) as file:
        os.posix_fallocate(file.fileno(), 0, len(text))
        file.write(text)
        file.truncate()


def _as_json(content: dict[str, Any]) -> str:
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in content.items()
    }
    return json.dumps(finite, indent=2, allow_nan=False) + "\n"


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; empty where there is no file.

    Raises:
        ConfigError: the file is damaged.
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
