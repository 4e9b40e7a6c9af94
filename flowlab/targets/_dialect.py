"""How a text file writes a table: its header, its delimiter, its numbers, its comments and its row names."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flowlab.config.component import setting
from flowlab.config.errors import ConfigError

# Words for marks that a shell or a YAML file would need in quotes.
MARKS = {
    **{"comma": ",", "semicolon": ";", "tab": "\t", r"\t": "\t", "bar": "|", "space": " "},
    **{"point": ".", "apostrophe": "'", "hash": "#"},
}
WORDS = {mark: word for word, mark in MARKS.items() if word.isalpha()}
SPACES = re.compile("[\u00a0\u2009\u202f]")  # which group thousands


@dataclass(kw_only=True)
class Dialect:
    """The settings of a text file. A mark is one character or its word: comma, semicolon, tab, bar, space, point.

    Attributes:
        header: "true" if the first line holds the names of the columns, "false" if it holds a point. "auto" decides by
            the lines below it. "words" takes every line that is not all numbers for names, as earlier versions did.
        delimiter: between two columns. None is a comma in .csv, a tab in .tsv, and in .txt a mark that all lines hold.
            It is a semicolon if the decimal mark is a comma outside of quotes.
        decimal: the decimal mark.
        thousands: groups the digits of a number; None if nothing does.
        comment: begins a comment, which ends with its line; None if there are no comments.
        index: the first column holds names or numbers of rows and is left out.

    Raises:
        ConfigError: a mark is longer than a character, or two marks inside a cell are equal.
    """

    header: str = setting("auto", choices=("auto", "true", "false", "words"))
    delimiter: str | None = None
    decimal: str = "."
    thousands: str | None = None
    comment: str | None = None
    index: bool = False

    def __post_init__(self) -> None:
        self.header = str(self.header).lower()
        used: dict[str, str] = {}
        for key in ("delimiter", "decimal", "thousands", "comment"):
            value = getattr(self, key)
            if value is None:
                continue
            mark = MARKS.get(value, value)
            if len(mark) != 1 or mark.isalnum() or mark in '"\r\n':
                raise ConfigError(f"target.{key}={value!r}: must be one mark, or a word of {', '.join(WORDS.values())}")
            if used.get(mark, "delimiter") != "delimiter":  # numbers with the delimiter in them stand in quotes
                raise ConfigError(f"target.{key}={value!r}: is target.{used[mark]} too; choose different marks")
            used[mark] = key
            setattr(self, key, mark)

    def parse(self, text: str) -> float:
        """A number as this file writes it; the minus sign may be U+2212. Raise ValueError if the text is none."""
        text = text.strip().replace("\u2212", "-")
        whole, mark, rest = text.partition(self.decimal)
        if self.thousands:
            groups = SPACES.sub(" ", whole).split(self.thousands)
            if len(groups) > 1 and not (re.fullmatch(r"[+-]?\d{1,3}", groups[0]) and _are_thousands(groups[1:])):
                raise ValueError(f"{text!r} is not grouped by thousands")
            whole = "".join(groups)
        if "." in whole + rest or "_" in text:
            raise ValueError(f"{text!r} is not a number")
        return float(f"{whole}{mark and '.'}{rest}")

    def is_number(self, text: str) -> bool:
        """Whether a text is a number, finite or not."""
        try:
            self.parse(text)
        except ValueError:
            return False
        return True


def _are_thousands(groups: list[str]) -> bool:
    return all(re.fullmatch(r"\d{3}", group) for group in groups)


def number_remedy(text: str) -> str:
    """The settings with which a text is a number in the notation of a country; "" if there are none.

    Example:
        >>> from flowlab.targets._dialect import number_remedy
        >>> number_remedy("1.234,5")
        'add target.decimal=comma and target.thousands=point, or '
    """
    if not re.fullmatch(r"[+\-\u2212]?\d[\d.,' \u00a0\u2009\u202f]*", text := text.strip()):
        return ""
    marks = list(dict.fromkeys(SPACES.sub(" ", mark) for mark in re.findall(r"[^\d+\-\u2212]", text)))
    if len(marks) == 2:
        return f"add target.decimal={WORDS[marks[1]]} and target.thousands={WORDS[marks[0]]}, or "
    if marks == [","]:
        return "add target.decimal=comma if it is the decimal mark, target.thousands=comma if it groups digits, or "
    grouped = len(marks) == 1 and _are_thousands(re.split(r"[^\d+\-\u2212]", text)[1:])
    decimal = "target.decimal=comma and " if marks == ["."] else ""
    return f"add {decimal}target.thousands={WORDS[marks[0]]}, or " if grouped else ""
