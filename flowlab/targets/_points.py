"""Read a table from a file or a directory of Parquet files, and say why it cannot be used."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas

from flowlab.config.errors import DataError
from flowlab.targets._dialect import Dialect
from flowlab.targets._text import column_names, read_text

TEXT = "UTF-8 text, a line for each point, with as many numbers as there are columns"
# The content that a file must have, by its suffix.
NEEDED = {
    ".csv": f"{TEXT}, separated by commas or target.delimiter",
    ".npy": "one array of numbers of shape (n, dim), as written by numpy.save",
    ".parquet": "a table of numbers, as written by pandas.DataFrame.to_parquet",
    ".tsv": f"{TEXT}, separated by tabs or target.delimiter",
    ".txt": f"{TEXT}, separated by target.delimiter",
    ".npz": "one array of shape (n, dim), or an array of shape (n,) for each column, as written by numpy.savez",
    ".feather": "a table of numbers, as written by pandas.DataFrame.to_feather",
}
TEXTS = (".csv", ".tsv", ".txt")
UNPACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
}
OBJECTS = "it holds Python objects, which flowlab does not load, as they can run code; save array.astype(float)"
GZIP, NPY = b"\x1f\x8b", b"\x93NUMPY"


class Content(NamedTuple):
    """The content of a file.

    Attributes:
        table: the columns, in the given order, with the types that the file or its reader gives them.
        content: the bytes that were read.
        decided: what was decided about the header of a text, in words.
    """

    table: pandas.DataFrame
    content: bytes
    decided: str


def read_table(path: Path, columns: Sequence[str] | None = None, dialect: Dialect | None = None) -> Content:
    """Read a file once.

    Raises:
        DataError: the file is missing, unreadable or of another kind, has no rows, or a column is unknown.
    """
    dialect = dialect or Dialect()
    parts = {name: path / name for name in _names_of_parts(path)}
    packed = path.suffix.lower() if path.suffix.lower() in UNPACK else ""
    suffix = ".parquet" if parts else Path(path.name.removesuffix(path.suffix) if packed else path).suffix.lower()
    _check_kind(path, suffix, packed, dialect)
    try:
        if not parts:
            _check_is_file(path)
        read = {name: part.read_bytes() for name, part in (parts or {"": path}).items()}
        content = b"".join(name.encode() + part for name, part in read.items())
        if parts:
            table, decided = pandas.concat([_read_part(*part) for part in read.items()], ignore_index=True), ""
        elif suffix in TEXTS:
            table, decided = read_text(path, suffix, _unpack(path, content, packed), dialect, columns is not None)
        else:
            table, decided = READERS[suffix](content, path), ""
        table = _select(table, columns, path)
    except DataError:
        raise
    except ImportError:
        raise DataError(
            f"{path}: reading {suffix} needs pyarrow; in a clone of flowlab, run pip install '.[parquet]'"
        ) from None
    except Exception as error:  # whatever a reader raises on a damaged file
        reason = str(error).splitlines()[0].removeprefix("Error tokenizing data. C error: ")
        reason = OBJECTS if "allow_pickle=False" in reason else reason
        raise DataError(f"{path}: cannot be read: {reason}; needed: {NEEDED[suffix]}") from None
    if table.empty:
        raise DataError(f"{path}: 0 rows; at least 6 are needed, or smaller target.validation and target.test")
    return Content(table, content, decided)


def _check_kind(path: Path, suffix: str, packed: str, dialect: Dialect) -> None:
    """Check the ending of a file, and that a dialect is given for a text alone."""
    if suffix not in NEEDED or (packed and suffix not in TEXTS):
        raise DataError(
            f"{path}: files with the ending {path.suffix!r} cannot be read; allowed: {', '.join(NEEDED)}, and texts "
            f"with {', '.join(UNPACK)} after it"
        )
    for name, value in asdict(dialect).items() if suffix not in TEXTS else ():
        if value != getattr(Dialect(), name) and (name, value) != ("header", "words"):
            raise DataError(f"{path}: target.{name}={value} is for text files ({', '.join(TEXTS)}); leave it out")


def _check_is_file(path: Path) -> None:
    """Check that a path is a file; a pipe or a device may be endless."""
    if not path.is_file():
        state = "is a directory" if path.is_dir() else "is not a file" if path.exists() else "no such file"
        raise DataError(
            f"{path}: {state}; target.path must be a file, or a directory of Parquet files, relative to the working "
            "directory"
        )


def _unpack(path: Path, content: bytes, packed: str) -> bytes:
    """The bytes of a text, unpacked as the ending of its name says."""
    if content.startswith(GZIP) and not packed:
        raise DataError(f"{path}: is compressed by gzip; unpack it first, or name it {path.name}.gz")
    return UNPACK[packed](content) if packed else content


def _names_of_parts(path: Path) -> list[str]:
    """The files of a partitioned table, by their names in its directory."""
    names = [part.relative_to(path) for part in path.rglob("*.parquet")] if path.is_dir() else []
    return sorted(str(name) for name in names if not any(part.startswith(("_", ".")) for part in name.parts))


def _read_part(name: str, content: bytes) -> pandas.DataFrame:
    """The rows of one file of a partitioned table; a directory KEY=VALUE gives a column."""
    keys = [part.split("=", 1) for part in Path(name).parts[:-1] if "=" in part]
    return _read_parquet(content).assign(**dict(keys))


def _read_parquet(content: bytes) -> pandas.DataFrame:
    from pyarrow import parquet  # pandas fails on two columns of one name

    return parquet.ParquetFile(io.BytesIO(content)).read().to_pandas()


def _read_npy(content: bytes, path: Path) -> pandas.DataFrame:
    if not content.startswith(NPY):
        raise ValueError(f"it does not begin with {NPY!r}")
    return _table(np.load(io.BytesIO(content), allow_pickle=False), path)


def _read_npz(content: bytes, path: Path) -> pandas.DataFrame:
    arrays = dict(np.load(io.BytesIO(content), allow_pickle=False))
    if len(arrays) == 1:
        return _table(next(iter(arrays.values())), path)
    if {array.ndim for array in arrays.values()} == {1} and len({len(array) for array in arrays.values()}) == 1:
        return pandas.concat([_table(array, path).set_axis([name], axis=1) for name, array in arrays.items()], axis=1)
    shapes = ", ".join(f"{name} of shape {array.shape}" for name, array in arrays.items())
    raise DataError(f"{path}: holds {shapes}; save the one array of points, as numpy.save('points.npy', ARRAY)")


READERS: dict[str, Callable[[bytes, Path], pandas.DataFrame]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".parquet": lambda content, path: _read_parquet(content),
    ".feather": lambda content, path: pandas.read_feather(io.BytesIO(content)),
}


def _table(array: np.ndarray, path: Path) -> pandas.DataFrame:
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        fields = "numpy.lib.recfunctions.structured_to_unstructured(array)"
        remedy = (
            fields
            if array.dtype.names
            else "array.reshape(len(array), -1)"
            if array.ndim > 2
            else "the points themselves: a single number is no point"
            if array.ndim == 0
            else "array.astype(float)"
        )
        raise DataError(
            f"{path}: holds an array of shape {array.shape} and type {array.dtype}; needed: numbers of shape (n, dim); "
            f"save {remedy}"
        )
    return pandas.DataFrame(array, columns=column_names(array.shape[1]))


def _select(table: pandas.DataFrame, columns: Sequence[str] | None, path: Path) -> pandas.DataFrame:
    table.columns = [str(name) for name in table.columns]
    if columns is None:
        columns = list(table.columns)
    if not columns:
        raise DataError(f"{path}: no columns to use; the file has: {', '.join(table.columns) or 'none'}")
    columns = [find_column(name, table) for name in columns]
    twice = [name for name in columns if list(table.columns).count(name) > 1]
    if twice:
        raise DataError(
            f"{path}: two columns have the name {twice[0]!r}; rename one, or choose others with target.columns"
        )
    if len(set(columns)) < len(columns):
        raise DataError(f"{path}: target.columns={columns} names a column twice")
    unknown = [name for name in columns if name not in table.columns]
    if unknown:
        raise DataError(f"{path}: no column {', '.join(map(repr, unknown))}; the file has: {', '.join(table.columns)}")
    return table[columns]


def find_column(name: str, table: pandas.DataFrame) -> str:
    """The column of a name; one that begins or ends with a space is found without it."""
    if name in table.columns:
        return name
    alike = [column for column in table.columns if column.strip() == name.strip()]
    return alike[0] if len(alike) == 1 else name
