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


def test_package_and_experiments_do_not_import_lesson_figures():
    sources = [path for folder in ("flowlab", "experiments") for path in (TESTS.parent / folder).rglob("*.py")]
    assert len(sources) > 100
    assert not [path.name for path in sources if "lesson_figures" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize(("name", "folder"), FIGURES)
def test_a_test_draws_the_figure(name, folder):
    assert any(f"{name}(" in path.read_text(encoding="utf-8") for path in (TESTS / folder).glob("test_*.py"))
