"""Rows that a command reads or writes: values of conditions on the command line, and files written in parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from flowlab.config.errors import ConfigError

if TYPE_CHECKING:
    import pandas

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz"}
ENDINGS = (".csv", *(f".csv{ending}" for ending in COMPRESSIONS), ".parquet")


def check_ending(key: str, name: str) -> None:
    """Raise ConfigError if a .parquet cannot be written here."""
    if name.endswith(".parquet") and find_spec("pyarrow") is None:
        raise ConfigError(f"{key}={name}: writing .parquet needs pyarrow; install it, or write a .csv")


def write_rows(chunks: Iterator[pandas.DataFrame], part: Path, path: Path) -> None:
    """Write tables with the same columns, one after another, into a file of the kind that the ending of `path` says."""
    write = _write_parquet if path.suffix == ".parquet" else _write_csv
    write(chunks, part, path)


def _write_csv(chunks: Iterator[pandas.DataFrame], part: Path, path: Path) -> None:
    import pandas

    compression = COMPRESSIONS.get(path.suffix)  # the name of the part does not say it
    with pandas.io.common.get_handle(part, "w", compression=compression, encoding="utf-8") as file:
        for number, table in enumerate(chunks):
            table.to_csv(file.handle, index=False, header=number == 0, lineterminator="\n")


def _write_parquet(chunks: Iterator[pandas.DataFrame], part: Path, path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    writer = None
    try:
        for table in chunks:
            rows = pyarrow.Table.from_pandas(table, preserve_index=False)
            writer = writer or parquet.ParquetWriter(part, rows.schema)
            writer.write_table(rows)
    finally:
        if writer is not None:
            writer.close()


def split_context(given: Any, names: Sequence[str]) -> dict[str, Any]:
    """The values of conditions by name, from words NAME=VALUE.

    Example:
        >>> from flowlab.cli.rows import split_context
        >>> split_context(["age=30", "group=a"], ["age", "group"])
        {'age': 30, 'group': 'a'}

    Raises:
        ConfigError: a word has no name, or a condition is unknown, missing, or given twice.
    """
    example = f"context=[{','.join(f'{name}=VALUE' for name in names)}]"
    values: dict[str, Any] = {}
    for word in given if isinstance(given, list) else [given]:
        name, separator, text = str(word).partition("=")
        if not separator or name not in names or name in values:
            problem = "names a condition twice" if name in values else "must be the conditions of the flow by name"
            raise ConfigError(f"context: {str(word)!r}: {problem}, as {example}")
        values[name] = _plain(text)
    missing = [name for name in names if name not in values]
    if missing:
        raise ConfigError(f"context: {missing[0]!r} is missing; give every condition, as {example}")
    return values


def _plain(text: str) -> Any:
    """A number, a truth value or a word, as YAML reads it."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return value if isinstance(value, bool | int | float) else text
