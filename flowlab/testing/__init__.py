"""Tests for your own bijectors: `check_bijector` checks every property that the library's bijectors must have.

It needs Hypothesis: `pip install 'flowlab[testing]'`.
"""

from flowlab.testing.check import PROPERTIES, Finding, Report, check_bijector

__all__ = ["PROPERTIES", "Finding", "Report", "check_bijector"]
