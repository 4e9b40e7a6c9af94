"""Checkpoint files with a checksum, so damage is noticed.

A checkpoint is the ZIP archive that `torch.save` writes; its comment holds the SHA-256 of the rest. `torch.load` reads
it, but checks no sums, so it would load other weights after a flipped bit. A checkpoint without a comment is checked by
the CRC sums of the archive.
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from flowlab.system.files import write_bytes

MARK = b"sha256:"
LENGTH = len(MARK) + 2 * hashlib.sha256().digest_size


def write_checkpoint(path: Path, checkpoint: dict[str, Any]) -> None:
    """Write a checkpoint, complete or not at all.

    Raises:
        WriteError: it cannot be written; an earlier checkpoint is still there.
    """
    archive = io.BytesIO()  # torch's writer gives no reason when a disk is full
    torch.save(checkpoint, archive)
    content = archive.getvalue()[:-2] + struct.pack("<H", LENGTH)  # an archive ends with the length of its comment
    write_bytes(path, content + _digest(content))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in it is executed.

    Raises:
        ValueError: the file is damaged, or holds something else than tensors and plain values.
        OSError: the file cannot be read.
    """
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
