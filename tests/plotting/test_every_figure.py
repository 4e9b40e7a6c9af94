"""Every figure function has a test that draws it from stored arrays."""

import inspect
from pathlib import Path

import lesson_figures
import pytest

from flowlab import plotting

TESTS = Path(__file__).parent.parent
FIGURES = [
    (name, folder)
    for module, folder in ((plotting, "plotting"), (lesson_figures, "notebooks"))
    for name in module.__all__
    if inspect.signature(getattr(module, name)).return_annotation == "Figure"
]


def test_there_are_figures_in_both_packages():
    assert {("deformation", "plotting"), ("kink_spike", "notebooks")} <= set(FIGURES)


@pytest.mark.parametrize(("name", "folder"), FIGURES)
def test_a_test_draws_the_figure(name, folder):
    assert any(f"{name}(" in path.read_text(encoding="utf-8") for path in (TESTS / folder).glob("test_*.py"))
