"""Reads the .wandb file that Weights & Biases writes offline; the package ships no reader of its own.

The file is LevelDB's log format after a header of 7 bytes: blocks of 32 KiB, in each a run of fragments with a header
of checksum, length and kind (1 whole, 2 first, 3 middle, 4 last); a record is a protobuf message of the package.
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

BLOCK, HEADER = 32 * 1024, struct.Struct("<IHB")


def records(path: Path) -> Iterator[wandb_internal_pb2.Record]:
    content = path.read_bytes()
    assert content.startswith(b":W&B"), f"{path} is no W&B file"
    position, whole = 7, b""
    while position + HEADER.size <= len(content):
        left = BLOCK - position % BLOCK
        if left < HEADER.size:
            position += left
            continue
        _, length, kind = HEADER.unpack_from(content, position)
        position += HEADER.size
        whole += content[position : position + length]
        position += length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


def history(path: Path) -> list[dict[str, Any]]:
    """The logged rows in their order."""
    return [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records(path)
        if record.WhichOneof("record_type") == "history"
    ]


def run_record(path: Path) -> Any:
    """What is known of the run: id, group, configuration ..."""
    return next(record.run for record in records(path) if record.WhichOneof("record_type") == "run")


def config(path: Path) -> dict[str, Any]:
    return {item.key: json.loads(item.value_json) for item in run_record(path).config.update}


def exit_code(path: Path) -> int:
    return next(record.exit.exit_code for record in records(path) if record.WhichOneof("record_type") == "exit")
