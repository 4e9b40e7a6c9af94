"""What the two documents state and show, and the checks of it that notebooks make."""

from flowlab.claims.check import Check, check, judge, show
from flowlab.claims.ledger import Claim, FigureEntry, Quantity, load_ledger

__all__ = ["Check", "Claim", "FigureEntry", "Quantity", "check", "judge", "load_ledger", "show"]
