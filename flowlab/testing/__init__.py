"""The check of bijectors, for tests: `check_bijector` tries every property that those of the library are held to.

It needs Hypothesis: `pip install 'flowlab[testing]'`.
"""

from flowlab.testing.check import Finding, Report, check_bijector
from flowlab.testing.properties import PROPERTIES

__all__ = ["PROPERTIES", "Finding", "Report", "check_bijector"]
