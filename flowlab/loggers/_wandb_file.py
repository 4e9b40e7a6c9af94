"""The .wandb file in which Weights & Biases keeps a session of a run; the package ships no reader of it.

The file is LevelDB's log format after a header of 7 bytes: blocks of 32 KiB, in each a run of fragments with a header
of checksum, length and kind (1 whole, 2 first, 3 middle, 4 last); a record is a protobuf message of the package.

Reference:
    | LevelDB log format (Sanjay Ghemawat, Jeff Dean, 2011)
    | https://github.com/google/leveldb/blob/main/doc/log_format.md
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

BLOCK, HEADER = 32 * 1024, struct.Struct("<IHB")
FIRST, LAST = (1, 2), (1, 4)


def records(path: Path) -> Iterator[tuple[Any, int]]:
    """The records of a file as far as they are whole, each with the number of bytes up to its end."""
    from google.protobuf.message import DecodeError
    from wandb.proto import wandb_internal_pb2

    content = path.read_bytes()
    position, whole = 7, b""
    while position + HEADER.size <= len(content):
        left = BLOCK - position % BLOCK
        if left < HEADER.size:
            position += left
            continue
        _, length, kind = HEADER.unpack_from(content, position)
        position += HEADER.size + length
        if not 1 <= kind <= 4 or position > len(content):
            return
        whole = (b"" if kind in FIRST else whole) + content[position - length : position]
        if kind in LAST:
            record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
            try:
                record.ParseFromString(whole)
            except DecodeError:
                return
            yield record, position


def history(path: Path) -> list[dict[str, Any]]:
    """The logged rows in their order; `_step` is the step."""
    rows: list[dict[str, Any]] = []
    for record, _ in records(path):
        if record.WhichOneof("record_type") == "history":
            rows.append({})
            for item in record.history.item:
                *within, name = item.nested_key or [item.key]
                reduce(lambda place, key: place.setdefault(key, {}), within, rows[-1])[name] = json.loads(
                    item.value_json
                )
    return rows


def last_step(directory: Path, identifier: str) -> int:
    """The last step that the sessions below a directory have of a run; 0 where there is none."""
    files = directory.glob(f"*/run-{identifier}.wandb")
    return max((row["_step"] for file in files for row in history(file)), default=0)


def mend(directory: Path) -> None:
    """Take away what a kill left half written offline: on it `wandb sync` gives up, with all sessions that follow."""
    for file in directory.glob("offline-run-*/run-*.wandb"):
        ends = [(record.WhichOneof("record_type"), end) for record, end in records(file)]
        if "run" not in (kind for kind, _ in ends):
            shutil.rmtree(file.parent)
        elif file.stat().st_size > ends[-1][1]:
            os.truncate(file, ends[-1][1])
