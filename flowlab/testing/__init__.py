"""Tests for your own bijectors: `check_bijector` checks every property that the library's bijectors must have.

It needs Hypothesis: `pip install 'flowlab[testing]'`.
"""

from flowlab.testing.check import Finding, Report, check_bijector
from flowlab.testing.properties import PROPERTIES

__all__ = ["PROPERTIES", "Finding", "Report", "check_bijector"]
