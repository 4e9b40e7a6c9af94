"""What the .wandb file of a session says of its run."""

import json
import time
from pathlib import Path

import pandas
from flowlab.loggers.wandb_file import history, records


def sessions(directory: Path) -> list[Path]:
    """The files of a run directory, the oldest first."""
    return sorted(directory.glob("wandb/*run-*/run-*.wandb"))


def wait_until_written(path: Path, seconds: float = 30) -> None:
    """Wait for the end of a session that this process has finished: it is its service that writes, and comes later."""
    deadline = time.monotonic() + seconds
    while not of_kind(path, "exit") and time.monotonic() < deadline:
        time.sleep(0.05)


def of_kind(path: Path, kind: str) -> list:
    return [getattr(record, kind) for record, _ in records(path) if record.WhichOneof("record_type") == kind]


def run_record(path: Path):
    """What is known of the run: id, group, name ..."""
    return of_kind(path, "run")[0]


def config(path: Path) -> dict:
    items = {item.key: json.loads(item.value_json) for item in run_record(path).config.update}
    return {name: value for name, value in items.items() if name != "_wandb"}


def exit_code(path: Path) -> int:
    wait_until_written(path)
    return of_kind(path, "exit")[0].exit_code


def table(rows: list[dict]) -> pandas.DataFrame:
    """Rows of numbers as metrics.csv has them; what Weights & Biases adds, and pictures, left out."""
    numbers = [{name: value for name, value in row.items() if not isinstance(value, dict)} for row in rows]
    frame = pandas.DataFrame(numbers).rename(columns={"_step": "step"})
    frame = frame.drop(columns=[name for name in frame if name.startswith("_")])
    return frame.dropna(subset="loss").reset_index(drop=True)


def pictures(path: Path) -> dict[tuple[str, int], Path]:
    """The pictures of a session by name and step."""
    return {
        (name, row["_step"]): path.parent / "files" / value["path"]
        for row in history(path)
        for name, value in row.items()
        if isinstance(value, dict) and value.get("_type") == "image-file"
    }


def summary(path: Path) -> dict:
    """The last word on every name."""
    updates = [item for record in of_kind(path, "summary") for item in record.update]
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in updates}
