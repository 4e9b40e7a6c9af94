"""Densities along chains, and of a flow beside its target."""

import numpy as np
import pytest
from lesson_figures import density_and_target, density_chains, density_row, samples_and_densities

BOUNDS = ((-1.0, 1.0), (-2.0, 2.0))
rng = np.random.default_rng(0)
SAMPLES = [rng.normal(size=(50, 2)), rng.normal(size=(60, 2))]
DENSITIES = rng.uniform(1, 5, size=(2, 3, 6, 4))


def test_each_panel_draws_its_density_with_x1_along_the_horizontal_axis():
    figure = density_chains(DENSITIES, ["first", "second"], ["a", "b", "c"], BOUNDS)
    for axes, density in zip(figure.axes, DENSITIES.reshape(-1, 6, 4), strict=True):
        (mesh,) = axes.collections
        np.testing.assert_array_equal(mesh.get_array(), density.T)
        assert mesh.get_clim() == (0, density.max())
        corners = mesh.get_coordinates()  # cells around the points of the grid, which include the bounds
        np.testing.assert_allclose(corners[..., 0].mean(), np.mean(BOUNDS[0]), atol=1e-12)
        np.testing.assert_allclose(np.ptp(corners[..., 0]), 2 * 6 / 5)
        np.testing.assert_allclose(np.ptp(corners[..., 1]), 4 * 4 / 3)
    assert [axes.get_ylabel() for axes in figure.axes] == ["first", "", "", "second", "", ""]
    assert [axes.get_title(loc="center") for axes in figure.axes] == ["a", "b", "c", "", "", ""]


def test_arrows_connect_each_panel_to_the_next():
    figure = density_chains(DENSITIES[:1], [""], ["z0", "z1", "z2"], BOUNDS, arrows=["f1", "f2"])
    first, second, last = figure.axes
    assert [text.get_text() for axes in (first, second) for text in axes.texts] == ["", "f1", "", "f2"]
    assert not last.texts
    place = first.transAxes.transform((first.texts[0].xy[0], 0.5))[0]  # where the arrow ends
    assert first.bbox.x1 < place < second.bbox.x0


def test_a_wrong_number_of_titles_or_arrows_is_refused():
    for rows, columns, arrows in (
        (["one"], ["a", "b", "c"], None),
        (["one", "two"], ["a", "b"], None),
        (["one", "two"], ["a", "b", "c"], ["f1"]),
    ):
        with pytest.raises(ValueError, match="zip"):
            density_chains(DENSITIES, rows, columns, BOUNDS, arrows)


def test_samples_and_densities_draws_four_panels_with_equal_axes():
    known, learned = np.zeros((30, 20)), np.full((30, 20), 0.5)
    known[25, 3] = 2.0  # large x1, small x2
    figure = samples_and_densities(SAMPLES, [known, learned], BOUNDS)
    panels, scale = figure.axes[:4], figure.axes[4]
    for axes, drawn in zip(panels[:2], SAMPLES, strict=True):
        np.testing.assert_array_equal(axes.collections[0].get_offsets(), drawn)
    for axes, drawn in zip(panels[2:], (known, learned), strict=True):
        mesh = axes.collections[0]
        np.testing.assert_array_equal(mesh.get_array(), drawn.T)
        assert mesh.get_clim() == (0, 2.0)
    assert {(axes.get_xlim(), axes.get_ylim()) for axes in panels} == {BOUNDS}
    assert scale.get_ylabel() == "density"


def test_density_row_has_the_scale_and_contours_of_its_first_panel():
    first, second = DENSITIES[0, 0], 2 * DENSITIES[0, 1]
    figure = density_row([first, second], BOUNDS, ["exact", "flow"])
    for axes, density in zip(figure.axes, (first, second), strict=True):
        mesh, contours = axes.collections
        np.testing.assert_array_equal(mesh.get_array(), density.T)
        assert mesh.get_clim() == (0, first.max())
        np.testing.assert_allclose(contours.levels, first.max() * np.array([0.05, 0.25, 0.75]))


def test_density_and_target_draws_the_density_and_the_contours_of_the_exact_one():
    density, exact = DENSITIES[0, 0], DENSITIES[0, 1]
    (axes,) = density_and_target(density, exact, BOUNDS, "step 7").axes
    mesh, contours = axes.collections
    np.testing.assert_array_equal(mesh.get_array(), density.T)
    assert mesh.get_clim() == (0, exact.max())
    np.testing.assert_allclose(contours.levels, exact.max() * np.array([0.05, 0.25, 0.75]))
    assert axes.get_title(loc="left") == "step 7"
