"""A sweep for the record: its table and where it came from, fit to be committed beside the code."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flowlab.files import read_json, write_json, write_text
from flowlab.schemas import ConfigError
from flowlab.sweeps.manifest import NAME as MANIFEST
from flowlab.sweeps.table import load_sweep

SAME = ("git_commit", "git_dirty", "flowlab", "python", "packages", "platform", "device", "threads", "command")
ABSOLUTE = re.compile(r"(^|[=\[(,'\"])/[^'\"\[\](),]*")


def write_record(directory: str | Path, path: str | Path) -> tuple[Path, Path]:
    """Write PATH.csv, the settings that varied and the results of each run, and PATH.json, where they came from.

    The same sweep gives the same bytes. Of an absolute path the last part is kept. In PATH.json, what differs between
    runs is a list; `training_seconds` is the sum over runs, `wall_seconds` that of the sweep's manifest.json if it
    has one.

    Raises:
        ConfigError: there is no run, or the runs come from several commits.
    """
    table = load_sweep(directory)
    origins = [read_json(Path(run) / "provenance.json") for run in table["directory"]]
    origins += [resumed for origin in origins for resumed in origin.get("resumed", [])]
    _one_commit(origins)
    seconds = table["seconds"].sum() if "seconds" in table else 0.0
    manifest = read_json(Path(directory) / MANIFEST)
    content: dict[str, Any] = {
        "runs": len(table),
        "status": dict(sorted(Counter(table["status"]).items())),
        "training_seconds": round(float(seconds), 3),
        **({"wall_seconds": manifest["seconds"]} if "seconds" in manifest else {}),
        "begun": min((origin["time"] for origin in origins if "time" in origin), default=None),
    }
    for key in (*SAME, "data_sha256"):
        values = _distinct(without_paths(origin[key]) for origin in origins if key in origin)
        if values:
            content[key] = values[0] if len(values) == 1 else values
    name = str(path).removesuffix(".csv").removesuffix(".json")
    rows = table.drop(columns=["directory", "error"]).map(without_paths)
    csv, json_ = (Path(f"{name}.{ending}") for ending in ("csv", "json"))
    csv.parent.mkdir(parents=True, exist_ok=True)
    write_text(csv, rows.to_csv(index=False, lineterminator="\n"))
    write_json(json_, content)
    return csv, json_


def without_paths(value: Any) -> Any:
    """The same with absolute paths, which tell of a machine, cut down to their last part.

    Example:
        >>> from flowlab.sweeps.record import without_paths
        >>> without_paths(["/opt/bin/train.py", "seed=0,1", "hydra.sweep.dir='/home/me/a b'", "flow/mlp"])
        ['train.py', 'seed=0,1', "hydra.sweep.dir='a b'", 'flow/mlp']
    """
    if isinstance(value, list):
        return [without_paths(each) for each in value]
    if not isinstance(value, str):
        return value
    return ABSOLUTE.sub(lambda found: found[1] + Path(found[0][len(found[1]) :]).name, value)


def _one_commit(origins: list[dict[str, Any]]) -> None:
    commits = Counter(str(origin.get("git_commit")) for origin in origins if origin)
    if len(commits) > 1:
        counts = ", ".join(f"{commit} ({count})" for commit, count in commits.items())
        raise ConfigError(f"the runs come from several commits, so they are not one record: {counts}")


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list({json.dumps(value, sort_keys=True): value for value in values}.values())
