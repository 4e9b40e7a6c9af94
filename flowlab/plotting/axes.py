"""Axes of numbers that span decades."""

from __future__ import annotations

from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogFormatterMathtext, LogLocator, NullFormatter


def number_log_axis(axis: Axis, low: float, high: float) -> None:
    """Numbers at each decade of a logarithmic axis, as powers of ten far from 1, and between where decades are few."""
    between = (1,) if high > 300 * low else (1, 2, 5) if high > 10 * low else (1, 1.5, 2, 3, 4, 5, 7)
    axis.set_major_locator(LogLocator(subs=between))
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axis.set_major_formatter(LogFormatterMathtext() if high > 1e6 or low < 1e-4 else plain)
    axis.set_minor_formatter(NullFormatter())
