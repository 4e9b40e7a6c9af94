"""Read a text file as a table, and decide whether its first line holds names or a point."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import pandas

from flowlab.config.errors import DataError
from flowlab.targets._dialect import WORDS, Dialect, number_remedy

SAMPLE = 200  # lines by which the header is decided
SHOWN = 60  # characters of a value in a message
MISSING = {"", "na", "n/a", "#n/a", "nan", "null", "none", "<na>", "?", "-", "."}
COMMENTS = set("#%!*/@")
NAMES = {",": "commas", "\t": "tabs", " ": "spaces"}

Rows = list[list[str]]


def read_text(path: Path, suffix: str, content: bytes, dialect: Dialect, chosen: bool) -> tuple[pandas.DataFrame, str]:
    """Read a text file; gives its table, and what was decided about its header, in words.

    Arguments:
        path: names the file in messages.
        suffix: .csv, .tsv or .txt, which decides the delimiter if the dialect does not.
        content: its bytes.
        dialect: how it is written.
        chosen: the columns are chosen by name, so others need none.

    Raises:
        DataError, ValueError: it cannot be read as the dialect says; or its first line may be names or a point.
    """
    if b"\0" in content[: 1 << 16]:
        raise DataError(f"{path}: holds NUL bytes, as UTF-16 text and binary files do; save it as UTF-8")
    lines = list(islice(_lines(content, dialect), SAMPLE))
    given = dialect.delimiter
    dialect = replace(dialect, delimiter=given or _default_delimiter(suffix, dialect, lines))
    rows = list(_split(lines, dialect))
    if not rows:
        raise ValueError("it is empty")
    rows[0] = _without_mark(rows)
    _check_delimiter(rows, lines, dialect, given)
    if len(rows) > 1 and len(rows[0]) + 1 == len(rows[1]):
        rows[0] = _with_name_for_index(rows, dialect)
    if len(rows) > 1 and len(rows[0]) < len(rows[1]):
        raise ValueError(_describe_title(rows))
    named, decided = _decide(path, rows, dialect)
    names = _names_of(path, rows, dialect, chosen) if named else column_names(len(rows[0]), int(dialect.index))
    with warnings.catch_warnings():
        warnings.simplefilter("error", pandas.errors.ParserWarning)  # lines longer than the first
        table = pandas.read_csv(
            io.BytesIO(content),
            sep=r"\s+" if dialect.delimiter == " " else dialect.delimiter,
            header=0 if named else None,
            names=range(len(names)),  # `names` may hold one twice
            index_col=False,
            decimal=dialect.decimal,
            comment=dialect.comment,
            skipinitialspace=True,
            low_memory=False,
        )
    return table.set_axis(names, axis=1).iloc[:, int(dialect.index) :], decided


def column_names(count: int, before: int = 0) -> list[str]:
    """The names x1, x2, ... of columns without names, after some columns that are left out."""
    return [f"x{number}" for number in range(1 - before, count - before + 1)]


def _lines(content: bytes, dialect: Dialect) -> Iterator[str]:
    """The lines of a text, without comments and blank lines."""
    for line in io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", errors="replace"):
        kept = line.partition(dialect.comment)[0] if dialect.comment else line
        if kept.strip(" \r\n"):
            yield kept.rstrip("\r\n")


def _split(lines: list[str], dialect: Dialect) -> Iterator[list[str]]:
    """The cells of lines, until one that cannot be split, which the full read reports."""
    split = csv.reader(lines, delimiter=dialect.delimiter or ",", skipinitialspace=True)
    with contextlib.suppress(csv.Error):
        for cells in split:
            shown = [cell.strip() for cell in cells]
            yield [cell for cell in shown if cell] if dialect.delimiter == " " else shown


def _default_delimiter(suffix: str, dialect: Dialect, lines: list[str]) -> str:
    if suffix == ".csv":
        in_quotes = any(re.search('",|,"', line) for line in lines) and not any(";" in line for line in lines)
        return ";" if dialect.decimal == "," and not in_quotes else ","
    if suffix == ".tsv":
        return "\t"
    marks = [mark for mark in ("\t", ";", ",", "|") if mark != dialect.decimal]
    return next((mark for mark in marks if lines and all(mark in line for line in lines)), " ")


def _check_delimiter(rows: Rows, lines: list[str], dialect: Dialect, given: str | None) -> None:
    """Raise ValueError if another mark than the delimiter separates the columns."""
    delimiter, alone = dialect.delimiter or ",", all(len(row) == 1 for row in rows)
    others = [mark for mark in (";", "\t", "|") if not given or alone] + [mark for mark in (",", " ") if alone]
    for mark in others:
        if mark in (delimiter, dialect.decimal, dialect.thousands) or not all(mark in line.strip() for line in lines):
            continue
        if mark == " " and not all(map(dialect.is_number, re.split(" +", lines[-1].strip()))):
            continue  # words, and not columns
        decimal = any(re.search(r"\d,\d", line) for line in lines) and mark != "," and dialect.decimal != ","
        remedy = f"add target.delimiter={WORDS[mark]}" + (" and target.decimal=comma" if decimal else "")
        raise ValueError(
            f"the columns are separated by {mark!r}; {remedy}, or save the file with "
            f"{NAMES.get(delimiter, repr(delimiter))}"
        )


def _without_mark(rows: Rows) -> list[str]:
    """The first line, its names without a # before them.

    Raises:
        ValueError: it is a comment, or names the delimiter, as spreadsheets write it.
    """
    first, mark = rows[0][0], rows[0][0][:1]
    differs = len(rows) > 1 and len(rows[0]) != len(rows[1])
    if first.lower().startswith("sep="):
        raise ValueError(f"the first line, {_shorten(first)}, holds neither names nor a point; remove it")
    if mark in COMMENTS and (differs or (mark == "#" and (len(rows[0]) == 1 or len(rows) < 2))):
        word = WORDS.get(mark, mark)
        raise ValueError(f"the first line begins with {_shorten(first)!r}; add target.comment={word} for comments")
    return [first.lstrip("# ") if mark == "#" else first, *rows[0][1:]]


def _with_name_for_index(rows: Rows, dialect: Dialect) -> list[str]:
    """The first line of a table whose column of row names has no name."""
    if dialect.index:
        return ["", *rows[0]]
    comma = dialect.delimiter == "," and "add target.delimiter=semicolon and target.decimal=comma for decimal commas; "
    raise ValueError(
        f"the first line has {len(rows[0])} value(s) and the next {len(rows[1])}; add target.index=true if lines begin "
        f"with the name of a row, as R writes them; {comma or ''}remove {dialect.delimiter!r} from the ends of lines"
    )


def _describe_title(rows: Rows) -> str:
    """The error for a first line that has fewer values than the next, as a title or a comment."""
    line, mark = " ".join(rows[0]), rows[0][0][:1]
    comment = "" if mark.isalnum() or not mark else f"add target.comment='{mark}' if {mark!r} begins a comment, or "
    return (
        f"the first line, {_shorten(line)!r}, has {len(rows[0])} value(s) and the next {len(rows[1])}; {comment}remove "
        "the lines above the names or the points"
    )


def _decide(path: Path, rows: Rows, dialect: Dialect) -> tuple[bool, str]:
    """Whether the first line holds names, and the decision in words; raise DataError if it may be names or a point."""
    skipped = int(dialect.index)
    first, below = rows[0][skipped:], [row[skipped:] for row in rows[1:]]
    if dialect.header in ("true", "false"):
        return dialect.header == "true", ""
    if dialect.header == "words":
        return not all(map(dialect.is_number, first)), ""
    shown = _shorten((dialect.delimiter or ",").join(first))
    named = _is_header(first, below, dialect)
    if named is None:
        raise DataError(
            f"{path}: the first line, {shown}, may hold the names of the columns or a point; add target.header=true or "
            "target.header=false"
        )
    numbers = any(map(dialect.is_number, first))
    if named:
        other = "if it is a point, add target.header=false"
        return True, f"{path}: the first line, {shown}, holds the names of the columns; {other}" if numbers else ""
    other = "if it holds their names, add target.header=true"
    return False, f"{path}: the first line, {shown}, is a point, and the columns are called x1, x2, ...; {other}"


def _is_header(first: list[str], below: Rows, dialect: Dialect) -> bool | None:
    """Whether a line holds names, by the lines below it; None if both are likely."""
    columns = [[row[place] for row in below if place < len(row)] for place in range(len(first))]
    missing = [cell.lower() in MISSING for cell in first]
    numbers = [dialect.is_number(cell) or bool(number_remedy(cell)) for cell in first]
    words = [place for place in range(len(first)) if not numbers[place] and not missing[place]]
    if not any(numbers):
        return bool(words) or "" in first
    if first[0] == "" and len(first) > 1 and columns[0] and "" not in columns[0]:
        return True  # no name above the numbers of rows
    counted = [cell for cell, number in zip(first, numbers, strict=True) if number]
    whole = all(re.fullmatch(r"\d+", cell) for cell in counted) and len(set(counted)) == len(counted)
    if any(missing) or not whole or not below:  # names that are numbers are whole, and differ
        return False if not words or all(_has_words(columns[place], dialect) for place in words) else None
    start = [int(cell) for cell in counted][:1] if _is_sequence(counted) else []
    if words:
        if any(first[place] in columns[place] for place in words):
            return False  # a label that other points have too
        return True if start == [0] or not any(_has_words(columns[place], dialect) for place in words) else None
    fractions = all(not any(map(_is_whole, column)) for column in columns)
    if fractions and (start == [0] or (start == [1] and len(first) > 1)):
        return True  # a point would be written with fractions too
    return None if fractions or start == [0] else False  # pandas names columns from 0


def _is_sequence(cells: list[str]) -> bool:
    return all(int(cell) == int(before) + 1 for before, cell in pairwise(cells))


def _has_words(cells: list[str], dialect: Dialect) -> bool:
    return any(not dialect.is_number(cell) and cell.lower() not in MISSING for cell in cells)


def _is_whole(cell: str) -> bool:
    return re.fullmatch(r"[+\-\u2212]?\d+", cell) is not None


def _names_of(path: Path, rows: Rows, dialect: Dialect, chosen: bool) -> list[str]:
    """The names in the first line; columns that are left out need no name."""
    names = [name or f"(column {place})" for place, name in enumerate(rows[0], start=1)]
    if dialect.index:
        names[0] = "(names of rows)"
    unnamed = [place for place, name in enumerate(names, start=1) if name == f"(column {place})"]
    if unnamed and not (chosen and unnamed != [1]):
        others = ",".join(name for name in rows[0] if name)
        index = "add target.index=true if it holds numbers or names of rows" if unnamed[0] == 1 else ""
        remedy = index or f"choose the others with target.columns=[{_shorten(others)}]"
        raise DataError(f"{path}: column {unnamed[0]} has no name; {remedy}, or save the file without them")
    return names


def _shorten(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
