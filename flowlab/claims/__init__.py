"""The claims and figures of Jang's tutorial and Keydana's post, and the checks that notebooks make of them."""

from flowlab.claims.check import Check, check, judge, show
from flowlab.claims.ledger import Claim, FigureEntry, Quantity, load_ledger
from flowlab.claims.records import Record, load_record

__all__ = [
    "Check",
    "Claim",
    "FigureEntry",
    "Quantity",
    "Record",
    "check",
    "judge",
    "load_ledger",
    "load_record",
    "show",
]
