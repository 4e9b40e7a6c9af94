"""Tests for your own bijectors: `check_bijector` checks every property that the library's bijectors must have.

It needs Hypothesis: `pip install '.[testing]'` in a clone of flowlab.

Raises:
    ModuleNotFoundError: Hypothesis is not installed.
"""

from importlib.util import find_spec

if find_spec("hypothesis") is None:
    raise ModuleNotFoundError(
        "flowlab.testing: needs the package hypothesis; run pip install '.[testing]' in a clone of flowlab",
        name="hypothesis",
    )

from flowlab.testing.check import PROPERTIES, Finding, Report, check_bijector

__all__ = ["PROPERTIES", "Finding", "Report", "check_bijector"]
