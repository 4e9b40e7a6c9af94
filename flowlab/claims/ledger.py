"""The ledger: every claim and figure of Jang's tutorial and Keydana's post, typed, from `ledger.toml`."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

LEDGER = Path(__file__).with_name("ledger.toml")
DOCUMENTS = ("Jang", "Keydana", "Rezende")

HOLDS, ERRATUM, REFUTED = "holds", "holds with erratum", "refuted"


class LedgerError(ValueError):
    """The ledger, or a value compared with it, is malformed; the message names the entry and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One or several numbers of a claim, and the rule by which they hold.

    Attributes:
        name: the keyword of `flowlab.claims.check`.
        reference: the reference value; a tuple for several numbers.
        tolerance: our value holds within this distance of the reference.
        standard_errors: our value holds within this many of its standard errors of the reference.
        at_least, at_most: our value holds on this side of the bound.
        digits: the decimals that are printed.

    A quantity without a rule is only reported.
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
            raise LedgerError(f"{self.name}: tolerance and standard_errors need a reference; give one")
        if self.tolerance is not None and self.standard_errors is not None:
            raise LedgerError(f"{self.name}: give tolerance or standard_errors, not both")

    @property
    def decides(self) -> bool:
        """Whether the quantity has a rule; otherwise it is only reported."""
        return any(rule is not None for rule in (self.tolerance, self.standard_errors, self.at_least, self.at_most))

    @property
    def references(self) -> tuple[float, ...]:
        if self.reference is None:
            return ()
        return self.reference if isinstance(self.reference, tuple) else (self.reference,)

    def rule(self) -> str:
        """Return the rule in words."""
        if self.standard_errors is not None:
            return f"{self.standard_errors:g} standard errors"
        if self.tolerance is not None:
            return f"{self.tolerance:g}" if self.tolerance else "exact"
        bounds = [("at least", self.at_least), ("at most", self.at_most)]
        return " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None) or "reported"

    @property
    def decimals(self) -> int:
        """The decimals that are printed: `digits`, or those that the tolerance distinguishes, or three."""
        if self.digits is not None:
            return self.digits
        if self.tolerance:
            return max(0, math.ceil(-math.log10(self.tolerance)))
        return 3


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement of Jang's tutorial or Keydana's post in our own words, with its reference values.

    Attributes:
        id: a letter for the author and a number, such as K3.
        document: Jang, Keydana or Rezende.
        source: where the references come from; never the code under test.
        notebook: the notebook that checks the claim.
        erratum: the correction that the text needs for the claim to hold.
        refutation: why the claim does not hold; None for a claim that is expected to hold.
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
            raise LedgerError(f"{self.id}: two quantities have the same name; the names are {', '.join(names)}")
        if not any(quantity.decides for quantity in self.quantities):
            raise LedgerError(
                f"{self.id}: no quantity has a rule; give one a tolerance, standard_errors, at_least or at_most"
            )

    @property
    def expected(self) -> str:
        """The verdict that the notebook must reach."""
        return REFUTED if self.refutation else ERRATUM if self.erratum else HOLDS


@dataclass(frozen=True, kw_only=True)
class FigureEntry:
    """A figure of Jang's tutorial or Keydana's post: its caption and the notebook that draws it."""

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
        return _find_entry(self.claims, id, "claim")

    def figure(self, id: str) -> FigureEntry:
        return _find_entry(self.figures, id, "figure")


@cache
def load_ledger(path: Path = LEDGER) -> Ledger:
    """Read the ledger.

    Raises:
        LedgerError: an entry lacks a key, has an unknown key, or has no rule.

    Example:
        >>> from flowlab.claims import load_ledger
        >>> load_ledger().claim("K3").notebook
        '02_bijectors'
    """
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    claims = [
        _build(
            Claim, entry | {"quantities": tuple(_build_quantity(entry, each) for each in entry.get("quantities", ()))}
        )
        for entry in content["claims"]
    ]
    figures = [_build(FigureEntry, entry) for entry in content["figures"]]
    return Ledger(_index_by_id(claims), _index_by_id(figures))


def _build_quantity(entry: Mapping[str, Any], content: Mapping[str, Any]) -> Quantity:
    reference = content.get("reference")
    several = {"reference": tuple(reference)} if isinstance(reference, list) else {}
    return _build(Quantity, {**content, **several}, str(entry.get("id")))


Entry = TypeVar("Entry", Quantity, Claim, FigureEntry)


def _build(kind: type[Entry], content: Mapping[str, Any], id: str = "") -> Entry:
    name = id or str(content.get("id"))
    known = [each.name for each in fields(kind)]
    unknown = [key for key in content if key not in known]
    if unknown:
        raise LedgerError(f"{name}: has the unknown key {unknown[0]!r}; allowed are {', '.join(known)}")
    document = content.get("document", DOCUMENTS[0])
    if document not in DOCUMENTS:
        raise LedgerError(f"{name}: document={document!r}; allowed are {', '.join(DOCUMENTS)}")
    try:
        return kind(**content)
    except TypeError as error:
        raise LedgerError(f"{name}: {error}") from None


def _index_by_id(entries: Iterable[Any]) -> dict[str, Any]:
    by_id: dict[str, Any] = {}
    for entry in entries:
        if entry.id in by_id:
            raise LedgerError(f"{entry.id}: two entries have this id; rename one")
        by_id[entry.id] = entry
    return by_id


def _find_entry(entries: Mapping[str, Any], id: str, kind: str) -> Any:
    if id not in entries:
        raise LedgerError(f"{id!r}: the ledger has no such {kind}; allowed are {', '.join(entries)}")
    return entries[id]
