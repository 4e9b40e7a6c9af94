"""Read the .wandb file of a Weights & Biases session; the wandb package has no public reader.

The file is in LevelDB's log format, after a header of 7 bytes. Blocks of 32 KiB hold fragments; the header of a
fragment is its checksum, length and kind (1 whole, 2 first, 3 middle, 4 last). A record is a protobuf message.

Reference:
    | LevelDB log format (Sanjay Ghemawat, Jeff Dean, 2011)
    | https://github.com/google/leveldb/blob/main/doc/log_format.md
"""

import json
import struct
import time
from functools import reduce
from pathlib import Path

import pandas
from google.protobuf.message import DecodeError
from wandb.proto import wandb_internal_pb2

BLOCK, HEADER = 32 * 1024, struct.Struct("<IHB")
FIRST, LAST = (1, 2), (1, 4)


def records(path: Path):
    """Yield the records of a file, up to the first damaged or truncated record."""
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
            record = wandb_internal_pb2.Record()
            try:
                record.ParseFromString(whole)
            except DecodeError:
                return
            yield record


def history(path: Path) -> list[dict]:
    """Return the logged rows in order; `_step` is the step."""
    rows: list[dict] = []
    for row in of_kind(path, "history"):
        rows.append({})
        for item in row.item:
            *within, name = item.nested_key or [item.key]
            reduce(lambda place, key: place.setdefault(key, {}), within, rows[-1])[name] = json.loads(item.value_json)
    return rows


def sessions(directory: Path) -> list[Path]:
    """Return the sessions of a run directory, oldest first."""
    return sorted(directory.glob("wandb/*run-*/run-*.wandb"))


def wait_until_written(path: Path, seconds: float = 30) -> None:
    """Wait for the exit record of a session: the wandb service writes it shortly after the session ends."""
    deadline = time.monotonic() + seconds
    while not of_kind(path, "exit") and time.monotonic() < deadline:
        time.sleep(0.05)


def of_kind(path: Path, kind: str) -> list:
    return [getattr(record, kind) for record in records(path) if record.WhichOneof("record_type") == kind]


def run_record(path: Path):
    """Return the run record: id, group, name ..."""
    return of_kind(path, "run")[0]


def config(path: Path) -> dict:
    items = {item.key: json.loads(item.value_json) for item in run_record(path).config.update}
    return {name: value for name, value in items.items() if name != "_wandb"}


def exit_code(path: Path) -> int:
    wait_until_written(path)
    return of_kind(path, "exit")[0].exit_code


def table(rows: list[dict]) -> pandas.DataFrame:
    """Return a table as in metrics.csv, without pictures and without columns that Weights & Biases adds."""
    numbers = [{name: value for name, value in row.items() if not isinstance(value, dict)} for row in rows]
    frame = pandas.DataFrame(numbers).rename(columns={"_step": "step"})
    frame = frame.drop(columns=[name for name in frame if name.startswith("_")])
    return frame.dropna(subset="loss").reset_index(drop=True)


def pictures(path: Path) -> dict[tuple[str, int], Path]:
    """Return the pictures of a session by name and step."""
    return {
        (name, row["_step"]): path.parent / "files" / value["path"]
        for row in history(path)
        for name, value in row.items()
        if isinstance(value, dict) and value.get("_type") == "image-file"
    }


def summary(path: Path) -> dict:
    """Return the summary: the last value of every name."""
    updates = [item for record in of_kind(path, "summary") for item in record.update]
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in updates}
