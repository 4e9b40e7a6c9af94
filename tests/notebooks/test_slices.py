import numpy as np
import pytest
from lesson_figures import conditional_curves, conditionals

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


def test_conditional_curves_share_a_scale_and_mark_the_true_values():
    figure = conditional_curves(X, [X**2, 3 * X**2], [0.5, -0.2], ["first", "second"], "redshift")
    for axes, factor, truth in zip(figure.axes, (1, 3), (0.5, -0.2), strict=True):
        np.testing.assert_array_equal(axes.lines[0].get_xydata(), np.column_stack([X, factor * X**2]))
        assert list(axes.lines[1].get_xdata()) == [truth, truth]
        assert axes.get_ylim() == figure.axes[0].get_ylim()
        assert axes.get_ylim()[1] >= 3
    with pytest.raises(ValueError, match="zip"):
        conditional_curves(X, [X], [], ["a"])
