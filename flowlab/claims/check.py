"""Holding a value against the ledger, and showing a figure of a document.

In a notebook what is checked and shown is recorded in the notebook itself, as metadata of the cell's output: so that
the report is made of executed notebooks and of nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowlab.claims.ledger import ERRATUM, HOLDS, REFUTED, Claim, LedgerError, Quantity, load_ledger
from flowlab.system.display import is_in_notebook

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

METADATA = "flowlab"  # the key of what is recorded

# A number, several, or an estimate with its standard error where the ledger counts in standard errors.
Value = float | Sequence[float]


@dataclass(frozen=True)
class Measured:
    """What was measured of one quantity.

    Attributes:
        quantity: of the ledger.
        values: ours.
        standard_error: of an estimate; None where the rule does not count in standard errors.
    """

    quantity: Quantity
    values: tuple[float, ...]
    standard_error: float | None = None

    @property
    def difference(self) -> float | None:
        """The largest distance from the reference; None where there is none."""
        references = self.quantity.references
        if not references:
            return None
        return max(abs(ours - reference) for ours, reference in zip(self.values, references, strict=True))

    @property
    def holds(self) -> bool:
        """Whether every rule of the ledger is kept; NaN keeps none."""
        quantity, difference = self.quantity, self.difference
        rules = []
        if quantity.tolerance is not None:
            rules.append(difference is not None and difference <= quantity.tolerance)
        if quantity.standard_errors is not None:
            assert self.standard_error is not None
            rules.append(difference is not None and difference <= quantity.standard_errors * self.standard_error)
        if quantity.at_least is not None:
            rules.append(all(value >= quantity.at_least for value in self.values))
        if quantity.at_most is not None:
            rules.append(all(value <= quantity.at_most for value in self.values))
        return all(rules) and not any(math.isnan(value) for value in self.values)

    def reference(self) -> str:
        """The value that ours is held against, as printed; empty where there is none."""
        return self._list(self.quantity.references)

    def ours(self) -> str:
        """Our value, as printed."""
        quantity = self.quantity
        if not quantity.references and quantity.at_most is not None and 0 < quantity.at_most < 1e-3 and self.holds:
            return f"at most {quantity.at_most:g}"  # rounding errors, whose size differs between machines
        error = "" if self.standard_error is None else f" +- {self.standard_error:.{quantity.decimals}f}"
        return self._list(self.values) + error

    def distance(self) -> str:
        """How far ours is from the reference, as printed; empty where there is none."""
        quantity, difference = self.quantity, self.difference
        if difference is None or not quantity.decides:
            return ""
        if not self.holds:
            return f"difference {difference:.2g}"
        if quantity.standard_errors is not None:
            return f"difference within {quantity.standard_errors:g} standard errors"
        return f"difference at most {quantity.tolerance:g}" if quantity.tolerance else "no difference"

    def _list(self, values: Sequence[float]) -> str:
        return ", ".join(f"{round(value, self.quantity.decimals) + 0.0:.{self.quantity.decimals}f}" for value in values)


@dataclass(frozen=True)
class Check:
    """A claim with what was measured of it."""

    claim: Claim
    measured: tuple[Measured, ...]

    @property
    def verdict(self) -> str:
        """holds, holds with erratum, or refuted."""
        if not all(each.holds for each in self.measured):
            return REFUTED
        return ERRATUM if self.claim.erratum else HOLDS

    def __str__(self) -> str:
        """One line for each quantity: the reference, ours, the difference; and the verdict."""
        lines = []
        for each in self.measured:
            held = f"reference {each.reference()}" if each.quantity.references else each.quantity.rule()
            words = [held, f"ours {each.ours()}", each.distance()]
            broken = "" if each.holds else "  <- does not hold"
            lines.append(", ".join(filter(None, words)) + broken)
        if len(lines) == 1:
            return f"{self.claim.id} {self.verdict}: {lines[0]}"
        names = [each.quantity.name.replace("_", " ") for each in self.measured]
        named = [f"   {name}: {line}" for name, line in zip(names, lines, strict=True)]
        return "\n".join([f"{self.claim.id} {self.verdict}", *named])

    def record(self) -> dict[str, Any]:
        """What `from_record` makes the same check of; plain JSON."""
        values = {
            each.quantity.name: {"values": [_plain(value) for value in each.values]}
            | ({} if each.standard_error is None else {"standard_error": _plain(each.standard_error)})
            for each in self.measured
        }
        return {"claim": self.claim.id, "verdict": self.verdict, "values": values}


def judge(id: str, *value: Value, **values: Value) -> Check:
    """Hold our values against a claim of the ledger.

    Arguments:
        id: of the claim.
        value: ours, of a claim with one quantity.
        values: ours by the names of the quantities, all of them. Where the ledger counts in standard errors, a pair:
            the estimate and its standard error.

    Raises:
        LedgerError: there is no such claim, or the values are not those of its quantities.

    Example:
        >>> from flowlab.claims import judge
        >>> print(judge("K4", 1.0000000003))
        K4 holds: reference 1.000000, ours 1.000000, difference at most 1e-06
    """
    claim = load_ledger().claim(id)
    names = [quantity.name for quantity in claim.quantities]
    if value:
        if len(value) > 1 or len(names) > 1 or values:
            raise LedgerError(f"{id}: give its quantities by name: {', '.join(names)}")
        values = {names[0]: value[0]}
    if sorted(values) != sorted(names):
        raise LedgerError(f"{id}: got {', '.join(values) or 'nothing'}; its quantities are {', '.join(names)}")
    return Check(claim, tuple(_measured(id, quantity, values[quantity.name]) for quantity in claim.quantities))


def check(id: str, *value: Value, **values: Value) -> None:
    """Print how our values stand to a claim of the ledger; in a notebook, record them with the cell's output.

    Arguments and errors are those of `judge`.
    """
    checked = judge(id, *value, **values)
    if is_in_notebook():
        from IPython.display import display

        display({"text/plain": str(checked)}, raw=True, metadata={METADATA: checked.record()})
    else:
        print(checked)


def show(id: str, figure: Figure, drawn: Mapping[str, ArrayLike], digits: int = 2) -> None:
    """Show a figure of a document and print a fingerprint of what is drawn; in a notebook, record which figure it is.

    Arguments:
        id: of the figure in the ledger.
        figure: to be shown.
        drawn: the data behind it by name, each printed by `flowlab.plotting.fingerprint` to so many digits.

    Raises:
        LedgerError: there is no such figure, or nothing is said to be drawn.
    """
    from flowlab.plotting.fingerprints import fingerprint

    entry = load_ledger().figure(id)
    if not drawn:
        raise LedgerError(f"{id}: name the data behind the figure, so that their fingerprint can be printed")
    if is_in_notebook():
        from IPython.display import display

        display(figure, metadata={METADATA: {"figure": entry.id}})
    for name, data in drawn.items():
        print(fingerprint(name, data, digits))


def from_record(record: Mapping[str, Any]) -> Check:
    """The check that a notebook recorded, judged again by the ledger as it is now.

    Raises:
        LedgerError: the ledger has no such claim, or other quantities.
    """
    values: dict[str, Value] = {}
    for name, each in record["values"].items():
        numbers = [float(value) for value in each["values"]]
        error = each.get("standard_error")
        values[name] = (numbers[0], float(error)) if error is not None else numbers
    return judge(record["claim"], **values)


def _measured(id: str, quantity: Quantity, value: Value) -> Measured:
    values = _numbers(value)
    if quantity.standard_errors is not None:
        if len(values) != 2:
            raise LedgerError(f"{id}: {quantity.name}={value!r}: must be a pair, the estimate and its standard error")
        if not 0 < values[1] < math.inf:
            raise LedgerError(f"{id}: {quantity.name}={value!r}: the standard error must be positive and finite")
        return Measured(quantity, values[:1], values[1])
    if quantity.references and len(values) != len(quantity.references):
        raise LedgerError(f"{id}: {quantity.name}={value!r}: must be {len(quantity.references)} number(s)")
    return Measured(quantity, values)


def _numbers(value: Any) -> tuple[float, ...]:
    """A number, sequence, array or tensor as plain numbers."""
    content = value.tolist() if hasattr(value, "tolist") else value
    return tuple(float(each) for each in content) if isinstance(content, (list, tuple)) else (float(content),)


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
