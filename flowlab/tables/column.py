"""A column of a table: its name, its kind and the type of its values, which become numbers and values again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas

from flowlab.config.errors import DataError
from flowlab.tables.kinds import Kind
from flowlab.tables.parse import kind_from_dict

SHOWN = 12  # categories in a message
CATEGORY, TEXT = "category", "object"  # the names of types that are not numpy's numbers


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its name.
        kind: the values that it may hold.
        dtype: the type of its values: a numpy number type, bool, category, or object for text.
    """

    name: str
    kind: Kind
    dtype: str

    def read(self, values: pandas.Series, where: str) -> np.ndarray:
        """The numbers of values, of shape (n,) in float64; NaN where a value is missing.

        Raises:
            DataError: a value is not a number, or not one of the categories.
        """
        categories = self.kind.categories
        if categories is not None:
            return self._codes(values, categories, where)
        try:
            return pandas.to_numeric(values).to_numpy(dtype=np.float64, na_value=np.nan)
        except (ValueError, TypeError):
            wrong = pandas.to_numeric(values, errors="coerce").isna() & values.notna()
            row = int(np.argmax(wrong))
            raise DataError(
                f"{where}: column {self.name!r} holds {values.iloc[row]!r} in row {row + 1}, which is not a number; "
                f"{self.kind.words} allows {self.kind.allowed}"
            ) from None

    def _codes(self, values: pandas.Series, categories: Sequence[Any], where: str) -> np.ndarray:
        """The places of values among the categories."""
        codes, different = pandas.factorize(values)
        places = [find_category(value, categories) for value in different]
        if None in places:
            unknown = different[places.index(None)]
            shown = ", ".join(map(str, categories[:SHOWN])) + (", ..." if len(categories) > SHOWN else "")
            row = int(np.argmax(codes == places.index(None)))
            raise DataError(
                f"{where}: column {self.name!r} holds {str(unknown)!r} in row {row + 1}, which is no category of it; "
                f"allowed: {shown}"
            )
        return np.array([*map(float, places), np.nan])[codes]  # type: ignore[arg-type]  # a missing value has code -1

    def write(self, numbers: np.ndarray) -> Any:
        """Values of the column's type, inside of its domain, from numbers of shape (n,)."""
        categories = self.kind.categories
        if categories is not None:
            codes = numbers.astype(np.int64)
            if self.dtype == CATEGORY:
                return pandas.Categorical.from_codes(codes, list(categories), ordered=self.kind.coordinate)
            return pandas.array(list(categories))[codes] if self.dtype == TEXT else np.array(categories)[codes]
        dtype = np.dtype(self.dtype)
        if dtype.kind in "iu":
            if not self.kind.discrete and not (numbers == np.round(numbers)).all():
                return numbers  # the column is learned as a real one
            limits = np.iinfo(dtype)
            ends = float(limits.min), np.nextafter(float(limits.max), 0)
            return np.clip(numbers, *ends).astype(dtype)
        with np.errstate(over="ignore"):
            values = numbers.astype(dtype)
        if dtype.kind == "f":
            values = np.clip(values, np.finfo(dtype).min, np.finfo(dtype).max)
            # Rounding to a shorter type may reach an end that the domain does not contain.
            outside = ~self.kind.holds(values.astype(np.float64))
            if outside.any():
                back = np.where(values > numbers, -np.inf, np.inf).astype(dtype)
                values[outside] = np.nextafter(values[outside], back[outside])
        return values

    def to_dict(self) -> dict[str, Any]:
        """The column as plain data."""
        return {"name": self.name, "dtype": self.dtype} | self.kind.to_dict()

    @classmethod
    def from_dict(cls, data: Any) -> Column:
        """The column of plain data; a ValueError if they are damaged."""
        fields = dict(data)
        name, dtype = fields.pop("name"), fields.pop("dtype")
        if not isinstance(name, str) or (dtype not in (CATEGORY, TEXT) and np.dtype(dtype).kind not in "fiub"):
            raise ValueError(f"{name!r} of type {dtype!r} is no column")
        return cls(name, kind_from_dict(fields), dtype)


def real_columns(names: Sequence[str]) -> list[Column]:
    """Columns of real numbers in float64; a ValueError if a name is not text."""
    if not all(isinstance(name, str) for name in names):
        raise ValueError("a column has no name")
    return [Column(name, Kind(), "float64") for name in names]


def find_category(value: Any, categories: Sequence[Any]) -> int | None:
    """The place of a value among categories, by the value or by the number that it writes; None if there is none.

    Example:
        >>> from flowlab.tables.column import find_category
        >>> find_category("2", [1, 2]), find_category("a", ["b", "a"]), find_category(True, ["false", "true"])
        (1, 1, 1)
    """
    for place, category in enumerate(categories):
        if type(category) is type(value) and category == value:
            return place
    key = _key(value)
    return next((place for place, category in enumerate(categories) if _key(category) == key), None)


def _key(value: Any) -> str:
    """A text that is equal for equal values of different types."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    try:
        return repr(float(value))
    except (TypeError, ValueError):
        text = str(value).strip()
        return text.lower() if text.lower() in ("true", "false") else text


def type_name(values: pandas.Series) -> str:
    """The type of a column's values, as Column names it."""
    if isinstance(values.dtype, pandas.CategoricalDtype):
        return CATEGORY
    if pandas.api.types.is_bool_dtype(values.dtype):
        return "bool"
    if not pandas.api.types.is_numeric_dtype(values.dtype):
        return TEXT
    dtype = getattr(values.dtype, "numpy_dtype", values.dtype)
    if dtype.kind == "f" and dtype.itemsize not in (4, 8):
        return "float64"
    return str(dtype) if dtype.kind in "fiu" else "float64"
