"""Make the schema of a table: the kinds that are given, and guesses for the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas

from flowlab.config.errors import ConfigError, DataError, did_you_mean
from flowlab.tables.column import Column, find_category, type_name
from flowlab.tables.guess import Guess, guess_condition, guess_kind
from flowlab.tables.kinds import Kind
from flowlab.tables.parse import parse_kind, split_kinds
from flowlab.tables.schema import Condition, Schema, unconstrained_numbers

MOST = 1000  # categories of a column; more identify rows
SHOWN = 5  # columns in a note


class Inferred(NamedTuple):
    """A schema, and for each column, as it was found, its kind in words and why it has it."""

    schema: Schema
    decided: list[tuple[str, str, str]]


def infer_schema(
    frame: pandas.DataFrame,
    kinds: Sequence[str] | Mapping[str, str] = (),
    context: Sequence[str] = (),
    guess: bool = True,
    train: np.ndarray | None = None,
    where: str = "data",
) -> Inferred:
    """The schema of a table without missing values.

    Guesses look at all rows, so no row is outside of the domain of a guessed kind. Numbers that a kind learns from data
    come from the training rows, and the categories of a column from all rows.

    Arguments:
        frame: the rows.
        kinds: texts COLUMN:KIND, or a mapping from columns to kinds, as {"hour": "circular:0:24"}.
        context: the columns that the density is conditioned on; all others are learned.
        guess: guess the kinds that are not given; without it, columns are real, and text conditions categorical.
        train: the places of the training rows, of shape (n,); None: all.
        where: the text before messages.

    Raises:
        ConfigError: a kind is unknown, or is given for a column that does not exist.
        DataError: a column holds text and is no condition, or a value outside of its kind.
    """
    frame = frame.rename(columns=str)
    names = list(frame.columns)
    given = named_kinds(kinds)
    for group, key in ((given, "target.kinds"), (context, "target.context")):
        unknown = [name for name in group if name not in names]
        if unknown:
            raise ConfigError(f"{key}: no column {unknown[0]!r}; {did_you_mean(unknown[0], names)}")
    decided: list[tuple[str, str, str]] = []
    coordinates: list[Column] = []
    conditions: list[Condition] = []
    for name in names:
        values = frame[name]
        if name in given:
            kind, why = given[name], "given"
        elif name in context:
            kind, why = guess_condition(values)
        else:
            kind, why = _guess(values, name, guess, where)
        numeric = values if train is None else values.iloc[train]
        column = Column(name, _with_categories(kind, values, where), type_name(values))
        numbers = column.read(numeric, where)
        column = replace(column, kind=column.kind.fit(numbers[column.kind.accepts(numbers)]))
        if name in context:
            conditions.append(_condition(column, numbers))
        elif column.kind.coordinate:
            coordinates.append(column)
        else:
            raise _no_density(name, where)
        decided.append((name, column.kind.words, why + (", a condition" if name in context else "")))
    if not coordinates:
        raise DataError(f"{where}: every column is in target.context; leave one out, whose density is learned")
    order = {name: place for place, name in enumerate(context)}
    conditions.sort(key=lambda condition: order[condition.column.name])
    return Inferred(Schema(coordinates, conditions), decided)


def _guess(values: pandas.Series, name: str, guess: bool, where: str) -> Guess:
    found = guess_kind(values)
    if found is None:
        raise _no_density(name, where)
    return found if guess else Guess(Kind(), "")


def _no_density(name: str, where: str) -> DataError:
    return DataError(
        f"{where}: column {name!r} holds text or categories, which have no density; condition on it with "
        f"target.context=[{name}], give its values in their order with target.kinds=[{name}:ordinal:LOW:HIGH], or "
        "leave it out with target.columns"
    )


def _with_categories(kind: Kind, values: pandas.Series, where: str) -> Kind:
    """A kind of categories with the values of the data: those that were given in their order, or all of them sorted."""
    if kind.categories is None:
        return kind
    if isinstance(values.dtype, pandas.CategoricalDtype) and values.cat.ordered:
        different = list(values.cat.categories)
    else:
        different = sorted(pandas.unique(values.dropna()), key=lambda value: (isinstance(value, str), value))
    plain = [value.item() if isinstance(value, np.generic) else value for value in different]
    plain = [value if isinstance(value, str | int | float) else str(value) for value in plain]
    if len(plain) > MOST:
        raise DataError(
            f"{where}: column {values.name!r} has {len(plain)} different values, too many to tell apart as categories; "
            "leave it out with target.columns"
        )
    if not kind.categories:
        return replace(kind, values=tuple(plain))  # type: ignore[call-arg]
    chosen = []
    for category in kind.categories:
        place = find_category(category, plain)
        chosen.append(category if place is None else plain[place])
    return replace(kind, values=tuple(chosen))  # type: ignore[call-arg]


def _condition(column: Column, numbers: np.ndarray) -> Condition:
    if column.kind.to_condition(numbers[:1]) is not None:
        return Condition(column)
    z = unconstrained_numbers(column, numbers)
    spread = float(np.std(z))
    return Condition(column, float(np.mean(z)), spread if spread > 0 else 1.0)


def named_kinds(kinds: Sequence[str] | Mapping[str, str]) -> dict[str, Kind]:
    """The kinds that a user gives, by the names of their columns; see infer_schema."""
    given = dict(kinds) if isinstance(kinds, Mapping) else split_kinds(kinds)
    return {name: parse_kind(words, f"target.kinds={name}") for name, words in given.items()}


def describe_schema(schema: Schema, decided: Sequence[tuple[str, str, str]], where: str) -> list[str]:
    """Notes on the kinds of columns: a table of them, and what a log density means for discrete ones."""
    widths = [max(len(row[place]) for row in decided) for place in range(2)]
    rows = "".join(f"\n  {name:<{widths[0]}}  {kind:<{widths[1]}}  {why}".rstrip() for name, kind, why in decided)
    notes = [f"{where}: the kinds of the columns; change one with target.kinds=[COLUMN:KIND]:{rows}"]
    names = [schema.columns[place] for place in schema.discrete]
    if names:
        notes.append(
            f"{where}: {', '.join(map(repr, names[:SHOWN]))}{' and others' if len(names) > SHOWN else ''} "
            f"{'hold' if len(names) > 1 else 'holds'} separate values, to which noise between 0 and 1 is added: the "
            "log density of a row, averaged over the noise, is a lower bound of its log probability"
        )
    return notes
