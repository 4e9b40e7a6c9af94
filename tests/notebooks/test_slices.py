import numpy as np
import pytest
from lesson_figures import conditionals

X = np.linspace(-1.0, 1.0, 5)


def test_conditionals_draws_two_densities_in_each_panel():
    exact, learned = [X**2, 1 - X**2], [X**4, 1 - X**4]
    figure = conditionals(X, exact, learned, ["x1 = 0", "x1 = 2"])
    for axes, known, line in zip(figure.axes, exact, learned, strict=True):
        np.testing.assert_array_equal(axes.lines[0].get_xydata(), np.column_stack([X, line]))
        outline = axes.collections[0].get_paths()[0].vertices
        for x, height in zip(X, known, strict=True):
            assert outline[outline[:, 0] == x, 1].max() == pytest.approx(height)
    assert [axes.get_title() for axes in figure.axes] == ["", ""]
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["x1 = 0", "x1 = 2"]


def test_a_wrong_number_of_densities_is_refused():
    with pytest.raises(ValueError, match="zip"):
        conditionals(X, [X], [X], ["a", "b"])
