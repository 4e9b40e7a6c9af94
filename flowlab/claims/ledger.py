"""The ledger: every claim and figure of the documents, typed, from `ledger.toml`."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

LEDGER = Path(__file__).with_name("ledger.toml")
DOCUMENTS = ("Jang", "Keydana")

HOLDS, ERRATUM, REFUTED = "holds", "holds with erratum", "refuted"


class LedgerError(ValueError):
    """The ledger, or a value held against it, cannot be right: the message names the entry and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A number, or several, of a claim, and when it holds.

    Attributes:
        name: as the keyword of `flowlab.claims.check`.
        reference: the document's value, or the value that ours is held against; several as a tuple.
        tolerance: ours holds within this distance of the reference.
        standard_errors: ours, given with its standard error, holds within so many of them of the reference.
        at_least, at_most: ours holds on that side of the bound.
        digits: decimals that are printed, of the reference too.

    With neither rule the quantity is reported and decides nothing.
    """

    name: str = ""
    reference: float | tuple[float, ...] | None = None
    tolerance: float | None = None
    standard_errors: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    digits: int | None = None

    def __post_init__(self) -> None:
        if self.reference is None and not (self.tolerance is None and self.standard_errors is None):
            raise LedgerError(f"{self.name}: tolerance and standard_errors need a reference")
        if len([rule for rule in (self.tolerance, self.standard_errors) if rule is not None]) > 1:
            raise LedgerError(f"{self.name}: give tolerance or standard_errors, not both")

    @property
    def decides(self) -> bool:
        """Whether a rule applies; otherwise the quantity is only reported."""
        return any(rule is not None for rule in (self.tolerance, self.standard_errors, self.at_least, self.at_most))

    @property
    def references(self) -> tuple[float, ...]:
        if self.reference is None:
            return ()
        return self.reference if isinstance(self.reference, tuple) else (self.reference,)

    def rule(self) -> str:
        """When the quantity holds, in words."""
        if self.standard_errors is not None:
            return f"{self.standard_errors:g} standard errors"
        if self.tolerance is not None:
            return f"{self.tolerance:g}" if self.tolerance else "exact"
        bounds = [("at least", self.at_least), ("at most", self.at_most)]
        return " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None) or "reported"

    @property
    def decimals(self) -> int:
        """How many decimals are printed: `digits`, or as many as the tolerance distinguishes, or three."""
        if self.digits is not None:
            return self.digits
        if self.tolerance:
            return max(0, math.ceil(-math.log10(self.tolerance)))
        return 3


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement of a document in our own words, and what it is held against.

    Attributes:
        id: of the list that the project set out with, such as K3.
        document: Jang or Keydana.
        source: where the references come from; never the code that is checked.
        notebook: the one that checks it.
        erratum: what has to be corrected in the document for the claim to hold.
        refutation: why the claim does not hold; where it is given, the claim is expected not to.
    """

    id: str
    document: str
    statement: str
    source: str
    notebook: str
    quantities: tuple[Quantity, ...] = field(default=())
    erratum: str | None = None
    refutation: str | None = None

    def __post_init__(self) -> None:
        names = [quantity.name for quantity in self.quantities]
        if len(set(names)) < len(names):
            raise LedgerError(f"{self.id}: two quantities have the same name; there are {', '.join(names)}")
        if not any(quantity.decides for quantity in self.quantities):
            raise LedgerError(f"{self.id}: no quantity decides whether it holds")

    @property
    def expected(self) -> str:
        """The verdict that the notebooks are to come to."""
        return REFUTED if self.refutation else ERRATUM if self.erratum else HOLDS


@dataclass(frozen=True, kw_only=True)
class FigureEntry:
    """A figure of a document: what it shows and the notebook that draws it."""

    id: str
    document: str
    caption: str
    notebook: str


@dataclass(frozen=True)
class Ledger:
    """Claims and figures by id, in the order of the file."""

    claims: dict[str, Claim]
    figures: dict[str, FigureEntry]

    def claim(self, id: str) -> Claim:
        return _entry(self.claims, id, "claim")

    def figure(self, id: str) -> FigureEntry:
        return _entry(self.figures, id, "figure")


@cache
def load_ledger(path: Path = LEDGER) -> Ledger:
    """Read the ledger.

    Raises:
        LedgerError: an entry lacks a key, has one that is unknown, or cannot be decided.

    Example:
        >>> from flowlab.claims import load_ledger
        >>> load_ledger().claim("K3").notebook
        '02_bijectors'
    """
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    claims = [
        _build(Claim, entry | {"quantities": tuple(_quantity(entry, each) for each in entry.get("quantities", ()))})
        for entry in content["claims"]
    ]
    figures = [_build(FigureEntry, entry) for entry in content["figures"]]
    return Ledger(_by_id(claims), _by_id(figures))


def _quantity(entry: Mapping[str, Any], content: Mapping[str, Any]) -> Quantity:
    reference = content.get("reference")
    several = {"reference": tuple(reference)} if isinstance(reference, list) else {}
    return _build(Quantity, {**content, **several}, str(entry.get("id")))


Entry = TypeVar("Entry", Quantity, Claim, FigureEntry)


def _build(kind: type[Entry], content: Mapping[str, Any], of: str = "") -> Entry:
    name = of or str(content.get("id"))
    known = [each.name for each in fields(kind)]
    unknown = [key for key in content if key not in known]
    if unknown:
        raise LedgerError(f"{name}: there is no key {unknown[0]!r}; allowed are {', '.join(known)}")
    document = content.get("document", DOCUMENTS[0])
    if document not in DOCUMENTS:
        raise LedgerError(f"{name}: document={document!r}; allowed are {', '.join(DOCUMENTS)}")
    try:
        return kind(**content)
    except TypeError as error:
        raise LedgerError(f"{name}: {error}") from None


def _by_id(entries: Iterable[Any]) -> dict[str, Any]:
    by_id: dict[str, Any] = {}
    for entry in entries:
        if entry.id in by_id:
            raise LedgerError(f"{entry.id}: is there twice")
        by_id[entry.id] = entry
    return by_id


def _entry(entries: Mapping[str, Any], id: str, what: str) -> Any:
    if id not in entries:
        raise LedgerError(f"{id!r}: there is no such {what} in the ledger; there are {', '.join(entries)}")
    return entries[id]
