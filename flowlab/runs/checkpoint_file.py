"""A checkpoint as a file, which knows when it is damaged.

It is what `torch.save` writes, a ZIP archive, whose comment is the SHA-256 of all that stands before it: `torch.load`
reads it as any other, but does not check the sums that an archive has of its parts, and a flipped bit gives it other
weights. Checkpoints without a comment are checked by those sums alone.
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
    """Write a checkpoint, whole or not at all.

    Raises:
        WriteError: it cannot be written; the one before is still there.
    """
    archive = io.BytesIO()  # torch's own writer says of a full disk no more than that something failed
    torch.save(checkpoint, archive)
    content = archive.getvalue()[:-2] + struct.pack("<H", LENGTH)  # an archive ends with the length of its comment
    write_bytes(path, content + _digest(content))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in it is executed.

    Raises:
        ValueError: the file is damaged, or holds something else than numbers and plain values.
        OSError: it cannot be read at all.
    """
    content = path.read_bytes()
    try:
        _check_sound(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files that are no checkpoints
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the readers raise on a damaged or a foreign file
        raise ValueError(str(error)) from error


def _check_sound(content: bytes) -> None:
    before, comment = content[:-LENGTH], content[-LENGTH:]
    archive = zipfile.ZipFile(io.BytesIO(content))
    if sum(entry.file_size for entry in archive.infolist()) > len(content):
        raise ValueError("it is compressed")  # torch packs nothing: a small file must not become a large one
    marked = comment.startswith(MARK)
    if (_digest(before) != comment) if marked else (archive.comment or archive.testzip() is not None):
        raise ValueError("it is not what was written")


def _digest(content: bytes) -> bytes:
    return MARK + hashlib.sha256(content).hexdigest().encode()
