"""Every figure function is drawn in a test of its own, from stored arrays."""

import inspect
from pathlib import Path

import pytest

from flowlab import plotting

TESTS = "\n".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
FIGURES = [
    name for name in plotting.__all__ if inspect.signature(getattr(plotting, name)).return_annotation == "Figure"
]


def test_there_are_figures():
    assert "deformation" in FIGURES


@pytest.mark.parametrize("name", FIGURES)
def test_it_has_a_test(name):
    assert f"{name}(" in TESTS
