"""Files and locks: a reader finds the old content or the new, never a part. Also JSON and checkpoints."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import math
import os
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flowlab.config.errors import ConfigError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
MARK = b"sha256:"  # begins the comment of a checkpoint
LENGTH = len(MARK) + 2 * hashlib.sha256().digest_size

_locks: dict[Path, int] = {}  # the directories that this process has locked, with their file descriptors


class WriteError(OSError):
    """A file cannot be written; the message names the file and the reason, and `advice` tells how to continue."""

    advice = ""

    def __str__(self) -> str:
        return f"{self.filename}: cannot be written: {self.strerror}{self.advice}"


@contextlib.contextmanager
def raise_write_error(path: Path) -> Iterator[None]:
    """Replace an OSError inside the block by a WriteError that names the file."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(error.errno, error.strerror or str(error), str(path)) from error


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file next to `path`, flush it to the disk, then rename it to `path`.

    After a WriteError the old content of `path` is still there.
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

    After a WriteError, where the content does not fit into that block, the old content is still there.
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
    """Read a JSON object, empty if there is no file; raise ConfigError if the file is damaged or holds no object."""
    if path.exists() and not path.is_file():
        raise ConfigError(f"{path}: cannot be read: it is not a file; move it away")
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: cannot be read: it does not hold an object")
    return content


@contextlib.contextmanager
def lock_directory(directory: Path, activity: str = "training this run") -> Iterator[None]:
    """Lock a directory inside the block; the system releases the lock when the process ends, however it ends.

    Raise ConfigError, "another process is ACTIVITY", if a different process has locked it.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _locks[directory.absolute()] = descriptor
        try:
            yield
        finally:
            del _locks[directory.absolute()]
    except BlockingIOError:
        raise ConfigError(f"{directory}: another process is {activity}") from None
    finally:
        os.close(descriptor)


def check_unlocked(directory: Path) -> None:
    """Raise ConfigError if a process has locked a directory, which need not exist, or if it is not a directory."""
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"{directory}: is not a directory; move it away")
    if directory.is_dir():
        with lock_directory(directory):
            pass


def check_not_replaced(directory: Path) -> None:
    """Raise WriteError if a directory that this process has locked is gone, or a new one is in its place.

    Somebody may have removed the directory and started a new run there; this process must not write into that run.
    A rank has no lock of its own, and then there is nothing to check.
    """
    descriptor = _locks.get(directory.absolute())
    if descriptor is None:
        return
    with raise_write_error(directory):
        if not os.path.samestat(os.fstat(descriptor), os.stat(directory)):
            raise WriteError(errno.ESTALE, "another directory has taken its place", str(directory))


def write_checkpoint(path: Path, checkpoint: dict[str, Any]) -> None:
    """Write a checkpoint, complete or not at all; after a WriteError an earlier one is still there.

    It is the ZIP archive that `torch.save` writes; its comment holds the SHA-256 of the rest. `torch.load` reads it,
    but checks no sums, so it would load other weights after a flipped bit.
    """
    import torch

    archive = io.BytesIO()  # torch's writer gives no reason when a disk is full
    torch.save(checkpoint, archive)
    content = archive.getvalue()[:-2] + struct.pack("<H", LENGTH)  # an archive ends with the length of its comment
    write_bytes(path, content + _digest(content))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in it is executed. One without a comment is checked by the sums of its archive.

    Raise ValueError if the file is damaged, or holds something else than tensors and plain values.
    """
    import torch

    content = path.read_bytes()
    try:
        _check_sound(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # for files that are not checkpoints
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # any error of the readers on a damaged or foreign file
        raise ValueError(str(error)) from error


def _check_sound(content: bytes) -> None:
    before, comment = content[:-LENGTH], content[-LENGTH:]
    archive = zipfile.ZipFile(io.BytesIO(content))
    if sum(entry.file_size for entry in archive.infolist()) > len(content):
        raise ValueError("it is compressed")  # torch compresses nothing; a small file must not expand to a large one
    marked = comment.startswith(MARK)
    if (_digest(before) != comment) if marked else (archive.comment or archive.testzip() is not None):
        raise ValueError("it is not what was written")


def _digest(content: bytes) -> bytes:
    return MARK + hashlib.sha256(content).hexdigest().encode()
