"""The schema of a table: its columns with their kinds, and the way from rows to points and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas

from flowlab.config.errors import DataError
from flowlab.tables.column import Column
from flowlab.tables.kinds import Kind

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from flowlab.targets.base import Batch, Standardization

LEVELS = 2**20  # levels of the noise between two whole numbers


@dataclass(frozen=True)
class Condition:
    """A column that a density is conditioned on.

    Attributes:
        column: the column.
        center, spread: center and spread of its unconstrained values in the training rows; kinds with fixed features
            do not use them.
    """

    column: Column
    center: float = 0.0
    spread: float = 1.0

    def features(self, numbers: np.ndarray) -> np.ndarray:
        """The features that a flow sees, of shape (n, c)."""
        fixed = self.column.kind.to_condition(numbers)
        if fixed is not None:
            return fixed
        return ((unconstrained_numbers(self.column, numbers) - self.center) / self.spread)[:, None]


class Schema:
    """The columns of a table whose density is learned, and the columns that it is conditioned on.

    A row has a point, in the units of the data. Numbers stay as they are. Whole numbers, truth values and ordered
    categories are their number plus noise between 0 and 1. Angles are unrolled at the emptiest place of the circle.
    Every point lies in the open `domains`. Averaged over the noise, log p(point) is a lower bound of the log
    probability of a discrete value (Theis, van den Oord, Bethge, 2016).

    Arguments:
        coordinates: the columns whose density is learned.
        conditions: the columns that it is conditioned on.

    Reference:
        | A note on the evaluation of generative models (Lucas Theis, Aäron van den Oord, Matthias Bethge, 2016)
        | https://arxiv.org/abs/1511.01844

    Example:
        >>> import pandas
        >>> from flowlab.tables.infer import infer_schema
        >>> frame = pandas.DataFrame({"age": [31, 40, 52], "share": [0.5, 0.0, 1.0], "group": ["a", "b", "a"]})
        >>> schema, _ = infer_schema(frame, context=["group"])
        >>> points, context = schema.encode(frame)
        >>> context.tolist()
        [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
        >>> schema.decode(points).equals(frame[["age", "share"]])
        True
    """

    def __init__(self, coordinates: Sequence[Column], conditions: Sequence[Condition] = ()) -> None:
        self.coordinates, self.conditions = tuple(coordinates), tuple(conditions)

    @property
    def columns(self) -> list[str]:
        """The names of the columns whose density is learned."""
        return [column.name for column in self.coordinates]

    @property
    def context_columns(self) -> list[str]:
        """The names of the columns that the density is conditioned on."""
        return [condition.column.name for condition in self.conditions]

    @property
    def discrete(self) -> list[int]:
        """The places of the columns with separate values."""
        return [place for place, column in enumerate(self.coordinates) if column.kind.discrete]

    @property
    def continuous(self) -> list[int]:
        """The places of the columns with a density."""
        return [place for place, column in enumerate(self.coordinates) if not column.kind.discrete]

    @property
    def unbounded(self) -> list[int]:
        """The places of the columns that may hold every number."""
        return [place for place, column in enumerate(self.coordinates) if column.kind == Kind()]

    @property
    def context_shape(self) -> tuple[int, ...] | None:
        """The shape of a context, or None without conditions."""
        size = sum(condition.features(np.zeros(1)).shape[1] for condition in self.conditions)
        return (size,) if size else None

    @property
    def domains(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The ends of the interval of each column of points; None if all are infinite."""
        low, high = np.array([column.kind.domain for column in self.coordinates], dtype=np.float64).T
        return None if np.isinf(low).all() and np.isinf(high).all() else (low, high)

    def encode(self, frame: pandas.DataFrame, seed: int = 0, where: str = "data", outside: str = "refuse") -> Batch:
        """Points of rows, of shape (n, dim), and their contexts, in float64.

        Arguments:
            frame: rows with the columns of the schema, in any order.
            seed: the seed of the noise of discrete columns; a row's noise depends on it and on the row's place alone.
            where: the text before messages, such as a path.
            outside: "refuse" values outside of a column's domain, or "keep" them as NaN, whose log density is -inf.

        Raises:
            DataError: a column or a value is missing, or a value is of another type, of an unknown category, or outside
                of its column's domain.
        """
        import torch

        from flowlab.seeding import generator
        from flowlab.targets.base import Batch

        count = len(frame)
        drawn = torch.rand(
            (count, len(self.discrete)), generator=generator(seed, "dequantization"), dtype=torch.float64
        )
        noise = np.full((count, len(self.coordinates)), 0.5)
        noise[:, self.discrete] = (drawn.mul(LEVELS).floor() + 0.5) / LEVELS
        points = np.empty_like(noise)
        for place, column in enumerate(self.coordinates):
            numbers, inside = self._read(column, frame, where, outside == "keep")
            points[:, place] = column.kind.to_points(np.where(inside, numbers, 0.0), noise[:, place])
            points[~inside, place] = np.nan
        context = self.encode_context(frame, where=where) if self.conditions else None
        return Batch(torch.from_numpy(points), context)

    def decode(self, points: Tensor | np.ndarray) -> pandas.DataFrame:
        """Rows of points of shape (n, dim): values in the domain of their column, and of its type."""
        numbers = self.numbers(points)
        made = {column.name: column.write(numbers[:, place]) for place, column in enumerate(self.coordinates)}
        return pandas.DataFrame(made)

    def numbers(self, points: Tensor | np.ndarray) -> np.ndarray:
        """The numbers of points, both of shape (n, dim), in float64; categories have their places as numbers."""
        values = np.asarray(points, dtype=np.float64)
        parts = [column.kind.to_numbers(values[:, place]) for place, column in enumerate(self.coordinates)]
        return np.stack(parts, axis=1)

    def encode_context(
        self, values: Mapping[str, Any] | pandas.DataFrame, rows: int | None = None, where: str = "context"
    ) -> Tensor:
        """Contexts of values by the names of their columns, in float64.

        Arguments:
            values: a DataFrame, or a mapping from names to single values or sequences; further columns are ignored.
            rows: repeat single values so often.
            where: the text before messages.

        Returns:
            Contexts of shape (n, c); of shape (c,) for single values without `rows`.

        Raises:
            DataError: a column is missing, or a value is missing, of an unknown category, or not in its domain.
        """
        import torch

        single = rows is None and not isinstance(values, pandas.DataFrame) and all(map(np.isscalar, values.values()))
        frame = self.context_frame(values, rows, where)
        parts = [condition.features(self._read(condition.column, frame, where)[0]) for condition in self.conditions]
        made = torch.from_numpy(np.concatenate(parts, axis=1))
        return made[0] if single else made

    def context_frame(
        self, values: Mapping[str, Any] | pandas.DataFrame, rows: int | None = None, where: str = "context"
    ) -> pandas.DataFrame:
        """The columns of a context, with the types of the data; arguments and errors as in encode_context."""
        if not isinstance(values, pandas.DataFrame):
            unknown = [name for name in values if name not in self.context_columns]
            if unknown:
                raise DataError(
                    f"{where}: {unknown[0]!r} is no condition of the flow; give {', '.join(self.context_columns)}"
                )
            index = range(rows or 1) if all(map(np.isscalar, values.values())) else None
            values = pandas.DataFrame(dict(values), index=index)
        written = {}
        for condition in self.conditions:
            column = condition.column
            written[column.name] = column.write(self._read(column, values, where)[0])
        return pandas.DataFrame(written)

    def _read(
        self, column: Column, frame: pandas.DataFrame, where: str, keep: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of a column, and whether its kind accepts each."""
        if column.name not in frame.columns:
            there = ", ".join(map(str, frame.columns))
            raise DataError(f"{where}: no column {column.name!r}, which the flow needs; there are: {there}")
        values = frame[column.name]
        numbers = column.read(values, where)
        missing = values.isna().to_numpy()
        if missing.any():
            raise DataError(
                f"{where}: column {column.name!r} holds NaN or nothing in {missing.sum()} row(s), the first in row "
                f"{missing.argmax() + 1}; remove or fill them first"
            )
        inside = column.kind.accepts(numbers)
        if not keep and not inside.all():
            row, count = int(np.argmin(inside)), int((~inside).sum())
            raise DataError(
                f"{where}: column {column.name!r} holds {values.iloc[row]} in row {row + 1}"
                + (f", and {count - 1} more such value(s)" if count > 1 else "")
                + f"; its kind, {column.kind.words}, allows {column.kind.allowed}; remove the rows, or choose another "
                f"kind with target.kinds=[{column.name}:KIND]"
            )
        return numbers, inside

    def unconstrain(self, points: Tensor) -> Tensor:
        """Points on the real line, where a flow is standardized; the same ones if all columns are real."""
        import torch

        from flowlab.tables.domains import Domains

        return points if self.domains is None else Domains(*map(torch.from_numpy, self.domains)).inverse(points)

    def fresh_noise(self, like: Tensor) -> Callable[[Tensor, torch.Generator], Tensor] | None:
        """A function that draws new noise for the discrete columns of points of shape (n, dim); None without any.

        Arguments:
            like: a tensor of the device and dtype of the points.
        """
        import torch

        places = self.discrete
        if not places:
            return None
        kinds = [self.coordinates[place].kind for place in places]
        ends = [kind.to_points(np.array([kind.domain[0], kind.domain[1] - 1]), np.array([0.0, 1.0])) for kind in kinds]
        low, high = (like.new_tensor(end) for end in np.array(ends).T)
        columns = torch.tensor(places, device=like.device)

        def renew(points: Tensor, generator: torch.Generator) -> Tensor:
            cells = points[:, columns].floor()
            noise = torch.rand(cells.shape, generator=generator, dtype=points.dtype, device=points.device)
            return points.index_copy(1, columns, torch.minimum(torch.maximum(cells + noise, low), high))

        return renew

    def to_dict(self) -> dict[str, Any]:
        """The schema as plain data, for `from_dict`."""
        conditions = [asdict(each) | {"column": each.column.to_dict()} for each in self.conditions]
        return {"columns": [column.to_dict() for column in self.coordinates], "context": conditions}

    @classmethod
    def from_dict(cls, data: Any) -> Schema:
        """The schema of plain data; a ValueError if they are damaged."""
        try:
            conditions = [
                Condition(Column.from_dict(each["column"]), float(each["center"]), float(each["spread"]))
                for each in data["context"]
            ]
            coordinates = [Column.from_dict(each) for each in data["columns"]]
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"is no schema: {error!r}") from None
        if not coordinates or not all(column.kind.coordinate for column in coordinates):
            raise ValueError("is no schema: a column has no density")
        return cls(coordinates, conditions)


def unconstrained_numbers(column: Column, numbers: np.ndarray) -> np.ndarray:
    """The coordinate of a column on the real line, in the middle of the noise of a discrete one."""
    import torch

    points = column.kind.to_points(numbers, np.full(len(numbers), 0.5))
    return Schema([column]).unconstrain(torch.from_numpy(points[:, None]))[:, 0].numpy()


def standardization_of(points: Tensor, weights: Tensor | None = None, robust: bool = False) -> Standardization:
    """Center and spread of each column of unconstrained points of shape (n, dim): see FileTarget."""
    import torch

    from flowlab.targets._columns import center_and_spread

    if robust:
        center, spread = map(torch.from_numpy, center_and_spread(points.numpy()))
        return center, spread, True
    if weights is None:
        return points.mean(0), points.std(0)
    mean = weights @ points / weights.sum()
    return mean, (weights @ (points - mean) ** 2 / weights.sum()).sqrt()
