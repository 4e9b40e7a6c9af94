"""Check values against the ledger, and show figures of Jang's tutorial and Keydana's post.

A notebook records its checks and figures as metadata of the cell's output. So the report needs nothing but executed
notebooks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowlab.claims.ledger import ERRATUM, HOLDS, REFUTED, Claim, LedgerError, Quantity, load_ledger
from flowlab.system.process import is_in_notebook

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

METADATA = "flowlab"  # the key of the records

# A number, several numbers, or an estimate and its standard error where the ledger counts in standard errors.
Value = float | Sequence[float]


@dataclass(frozen=True)
class Measured:
    """Our values of one quantity.

    `standard_error` belongs to an estimate; it is None if the rule does not count in standard errors.
    """

    quantity: Quantity
    values: tuple[float, ...]
    standard_error: float | None = None

    @property
    def difference(self) -> float | None:
        """The largest distance from the reference; None without a reference."""
        if references := self.quantity.references:
            return max(abs(ours - reference) for ours, reference in zip(self.values, references, strict=True))
        return None

    @property
    def holds(self) -> bool:
        """Whether our values satisfy every rule of the ledger; NaN satisfies none."""
        quantity, allowed = self.quantity, math.inf
        if quantity.tolerance is not None:
            allowed = quantity.tolerance
        elif quantity.standard_errors is not None:
            assert self.standard_error is not None
            allowed = quantity.standard_errors * self.standard_error
        low = -math.inf if quantity.at_least is None else quantity.at_least
        high = math.inf if quantity.at_most is None else quantity.at_most
        return (self.difference or 0.0) <= allowed and all(low <= value <= high for value in self.values)

    def reference(self) -> str:
        """The reference as printed; an empty text without a reference."""
        return self._list(self.quantity.references)

    def ours(self) -> str:
        """Our value as printed."""
        quantity = self.quantity
        if not quantity.references and quantity.at_most is not None and 0 < quantity.at_most < 1e-3 and self.holds:
            return f"at most {quantity.at_most:g}"  # the size of rounding errors differs between machines
        error = "" if self.standard_error is None else f" +- {self.standard_error:.{quantity.decimals}f}"
        return self._list(self.values) + error

    def distance(self) -> str:
        """The distance from the reference as printed; an empty text without a reference or rule."""
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
    """A claim with our values of its quantities."""

    claim: Claim
    measured: tuple[Measured, ...]

    @property
    def verdict(self) -> str:
        if not all(each.holds for each in self.measured):
            return REFUTED
        return ERRATUM if self.claim.erratum else HOLDS

    def __str__(self) -> str:
        lines = []
        for each in self.measured:
            rule = f"reference {each.reference()}" if each.quantity.references else each.quantity.rule()
            words = [rule, f"ours {each.ours()}", each.distance()]
            broken = "" if each.holds else "  <- does not hold"
            lines.append(", ".join(filter(None, words)) + broken)
        if len(lines) == 1:
            return f"{self.claim.id} {self.verdict}: {lines[0]}"
        names = [each.quantity.name.replace("_", " ") for each in self.measured]
        named = [f"   {name}: {line}" for name, line in zip(names, lines, strict=True)]
        return "\n".join([f"{self.claim.id} {self.verdict}", *named])

    def record(self) -> dict[str, Any]:
        """Plain JSON from which the report builds the same check again."""
        values = {
            each.quantity.name: {"values": [_to_json(value) for value in each.values]}
            | ({} if each.standard_error is None else {"standard_error": _to_json(each.standard_error)})
            for each in self.measured
        }
        return {"claim": self.claim.id, "verdict": self.verdict, "values": values}


def judge(id: str, *value: Value, **values: Value) -> Check:
    """Compare our values with a claim of the ledger.

    Arguments:
        id: the claim's id.
        value: our value, for a claim with one quantity.
        values: our values of all quantities by name; an estimate and its standard error where the ledger counts in
            standard errors.

    Raises:
        LedgerError: the ledger has no such claim, or the values do not fit its quantities.

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
    return Check(claim, tuple(_build_measured(id, quantity, values[quantity.name]) for quantity in claim.quantities))


def check(id: str, *value: Value, **values: Value) -> None:
    """Print the comparison of our values with a claim; in a notebook, also record the values with the cell's output.

    Arguments and errors as in `judge`.
    """
    checked = judge(id, *value, **values)
    if is_in_notebook():
        from IPython.display import display

        display({"text/plain": str(checked)}, raw=True, metadata={METADATA: checked.record()})
    else:
        print(checked)


def show(id: str, figure: Figure, drawn: Mapping[str, ArrayLike], digits: int = 2, alt: str = "") -> None:
    """Show a figure of the ledger and print fingerprints of its data; in a notebook, also record the figure's id.

    Arguments:
        id, figure: the figure and its id in the ledger.
        drawn: the data behind the figure by name, whose `flowlab.plotting.fingerprint` is printed.
        digits: the digits of the fingerprints.
        alt: the alternative text of the picture, for readers who cannot see it.

    Raises:
        LedgerError: the ledger has no such figure, or `drawn` is empty.
    """
    from flowlab.plotting.labels import fingerprint

    entry = load_ledger().figure(id)
    if not drawn:
        raise LedgerError(f"{id}: drawn={{}}: must name the data behind the figure, whose fingerprints are printed")
    if is_in_notebook():
        from IPython.display import display

        display(figure, metadata={METADATA: {"figure": entry.id}, **({"image/png": {"alt": alt}} if alt else {})})
    for name, data in drawn.items():
        print(fingerprint(name, data, digits))


def _build_measured(id: str, quantity: Quantity, value: Value) -> Measured:
    values = _to_floats(value)
    if quantity.standard_errors is not None:
        if len(values) != 2:
            raise LedgerError(f"{id}: {quantity.name}={value!r}: must be a pair, the estimate and its standard error")
        if not 0 < values[1] < math.inf:
            raise LedgerError(f"{id}: {quantity.name}={value!r}: the standard error must be positive and finite")
        return Measured(quantity, values[:1], values[1])
    if quantity.references and len(values) != len(quantity.references):
        raise LedgerError(f"{id}: {quantity.name}={value!r}: must be {len(quantity.references)} number(s)")
    return Measured(quantity, values)


def _to_floats(value: Any) -> tuple[float, ...]:
    """The numbers of a number, sequence, array or tensor."""
    content = value.tolist() if hasattr(value, "tolist") else value
    return tuple(float(each) for each in content) if isinstance(content, (list, tuple)) else (float(content),)


def _to_json(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
