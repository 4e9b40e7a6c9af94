"""The figure of norms draws their quantiles and histograms."""

import numpy as np
import pytest
from lesson_figures import norm_bands

rng = np.random.default_rng(0)
NORMS = {d: np.linalg.norm(rng.normal(size=(400, d)), axis=1) for d in (1, 4, 9)}


def test_bands_and_line_are_quantiles_and_means_of_the_norms():
    left = norm_bands(NORMS, shown=(4,)).axes[0]
    mean, root = left.lines
    np.testing.assert_allclose(mean.get_xydata(), [[d, norm.mean()] for d, norm in NORMS.items()])
    np.testing.assert_allclose(root.get_xydata(), [[1, 1], [4, 2], [9, 3]])
    for band, quantiles in zip(left.collections, ([0.005, 0.995], [0.25, 0.75]), strict=True):
        corners = {tuple(corner) for corner in band.get_paths()[0].vertices.round(9)}
        wanted = {(float(d), q) for d, norm in NORMS.items() for q in np.quantile(norm, quantiles).round(9)}
        assert wanted <= corners
    assert left.get_legend_handles_labels()[1][:2] == ["99% of the norms", "50% of the norms"]
    assert (left.get_xscale(), left.get_yscale()) == ("log", "log")


def test_histograms_show_norms_minus_the_square_root():
    right = norm_bands(NORMS, shown=(4, 9)).axes[1]
    for outline, dimension in zip(right.patches, (4, 9), strict=True):
        heights, edges = np.histogram(NORMS[dimension] - np.sqrt(dimension), bins=60, range=(-3, 3), density=True)
        corners = outline.get_xy()
        np.testing.assert_allclose(corners[1:-1:2, 1], heights)
        np.testing.assert_allclose(corners[0:-1:2, 0], edges)
    limit = right.lines[0].get_xydata()
    assert np.trapezoid(limit[:, 1], limit[:, 0]) == pytest.approx(1, abs=1e-4)
    assert np.trapezoid(limit[:, 1] * limit[:, 0] ** 2, limit[:, 0]) == pytest.approx(0.5, abs=1e-3)


def test_a_dimension_without_norms_is_refused():
    with pytest.raises(KeyError, match="10"):
        norm_bands(NORMS)
