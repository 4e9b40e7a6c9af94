import numpy as np
import pytest
from lesson_figures import importance_weights, rejection

POINTS = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
BOUNDS = ((0.0, 2.0), (0.0, 1.0))


def test_importance_weights_draws_the_ratios_the_bound_and_the_counts():
    ratios = {"flow": [0.0, 5.0, 90.0], "mixture": [0.0, 1.0, 2.0]}
    left, right = importance_weights([-1, 0, 1], ratios, [0.1, 0.1, 6.9], bound=7.0).axes
    first, second, bound = left.lines
    np.testing.assert_array_equal(first.get_xydata(), [[-1, 0], [0, 5], [1, 90]])
    np.testing.assert_array_equal(second.get_xydata(), [[-1, 0], [0, 1], [1, 2]])
    assert set(bound.get_ydata()) == {np.log(7.0)}
    assert left.get_ylim() == pytest.approx((-3 * np.log(7.0), 3 * np.log(7.0)))
    counts = [patch.get_height() for patch in right.patches]
    assert (counts[0], counts[-1], sum(counts)) == (2, 1, 3)
    assert right.patches[-1].get_x() + right.patches[-1].get_width() == pytest.approx(7.0)


def test_a_bound_below_the_largest_weight_is_refused():
    with pytest.raises(ValueError, match="bound=2: must be at least the largest weight, 2.5"):
        importance_weights([0.0], {"flow": [0.0]}, [1.0, 2.5], bound=2.0)


def test_rejection_draws_accepted_points_twice_and_rejected_points_once():
    density = np.zeros((30, 20))
    density[25, 3] = 2.0  # large x1, small x2
    left, right = rejection(POINTS, [True, False, True], density, BOUNDS).axes
    rejected, accepted = left.collections
    np.testing.assert_array_equal(rejected.get_offsets(), POINTS[1:2])
    np.testing.assert_array_equal(accepted.get_offsets(), POINTS[[0, 2]])
    np.testing.assert_array_equal(right.collections[0].get_offsets(), POINTS[[0, 2]])
    lines = right.collections[1]
    np.testing.assert_allclose(lines.levels, [0.02, 0.2, 1.0])
    around = np.concatenate([path.vertices for path in lines.get_paths()]).mean(axis=0)
    assert around == pytest.approx([25 / 29 * 2, 3 / 19], abs=0.05)
    assert left.get_title(loc="left") == "2 of 3 proposals accepted"
    many = rejection(np.tile(POINTS, (1000, 1)), [True] * 3000, density, BOUNDS).axes[0]
    assert many.get_title(loc="left") == "3 000 of 3 000 proposals accepted"


def test_the_legend_of_rejection_hides_the_points_below_it():
    left, _ = rejection(POINTS, [True, False, True], np.eye(2), BOUNDS).axes
    frame = left.get_legend().get_frame()
    assert frame.get_visible()
    assert frame.get_facecolor() == (1, 1, 1, 1)
