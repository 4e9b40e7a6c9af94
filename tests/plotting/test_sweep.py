"""Figures of a sweep draw the numbers in its table."""

import numpy as np
import pandas
import pytest
from matplotlib.colors import LogNorm

from flowlab.plotting import density_panels, sweep_heatmap, sweep_lines

DEPTHS, RANKS, SEEDS = (1, 2, 12), (0, 2), (0, 1, 2)


def sweep(**columns):
    rows = [
        {"flow.depth": depth, "flow.rank": rank, "seed": seed, "kl": (1 + seed) / depth**2 / (1 + rank)}
        for depth in DEPTHS
        for rank in RANKS
        for seed in SEEDS
    ]
    return pandas.DataFrame(rows).assign(status="done", **columns)


def mark_failed(table, rows):
    table.loc[rows, "status"], table.loc[rows, "kl"] = "failed", np.nan
    return table


def median_lines(axes):
    return {line.get_label(): line.get_xydata() for line in axes.lines if not line.get_label().startswith("_")}


def test_sweep_lines_draws_a_line_through_the_medians_of_each_rank():
    (axes,) = sweep_lines(sweep()).axes
    lines = median_lines(axes)
    np.testing.assert_allclose(lines["rank 0"], [[1, 2], [2, 2 / 4], [12, 2 / 144]])
    np.testing.assert_allclose(lines["rank 2"], [[1, 2 / 3], [2, 2 / 12], [12, 2 / 432]])
    assert axes.get_yscale() == "log"
    assert list(axes.get_xticks()) == list(DEPTHS)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["rank 0", "rank 2"]
    assert axes.get_ylabel() == "KL(target || flow) in nats"
    assert axes.get_title(loc="left") == "median and range of 3 seeds"
    # The style's colours are used even if a notebook shows the figure later in a different style.
    assert [line.get_color() for line in axes.lines if line.get_label() in lines] == ["#0072b2", "#d55e00"]


def test_sweep_lines_draws_the_range_as_a_band_and_the_runs_as_points():
    table = sweep()
    (axes,) = sweep_lines(table).axes
    corners = axes.collections[0].get_paths()[0].vertices
    for depth in DEPTHS:
        heights = corners[corners[:, 0] == depth, 1]
        assert (heights.min(), heights.max()) == pytest.approx((1 / depth**2, 3 / depth**2))
    points = np.concatenate([line.get_ydata() for line in axes.lines if line.get_label().startswith("_")])
    np.testing.assert_allclose(np.sort(points), np.sort(table["kl"]))


def test_sweep_lines_of_one_seed_and_one_setting_draws_one_line():
    table = sweep()[lambda t: (t["seed"] == 0) & (t["flow.rank"] == 0)].drop(columns=["seed", "flow.rank"])
    (axes,) = sweep_lines(table).axes
    (line,) = axes.lines
    np.testing.assert_allclose(line.get_xydata(), [[1, 1], [2, 1 / 4], [12, 1 / 144]])
    assert not axes.collections
    assert axes.get_legend() is None
    assert axes.get_title(loc="left") == "one run each"


def test_failed_runs_are_left_out_and_counted():
    table = mark_failed(sweep(), [1, 2])  # of depth 1, rank 0 only seed 0 remains
    table.loc[17, ["status", "kl"]] = "running", np.nan
    (axes,) = sweep_lines(table).axes
    assert median_lines(axes)["rank 0"][0] == pytest.approx([1, 1])
    assert axes.get_title(loc="left") == "median and range of 1 to 3 seeds; 2 runs failed, 1 run running"


def test_values_without_an_order_are_drawn_side_by_side():
    table = sweep()[lambda t: t["flow.depth"] == 1].replace({"flow.rank": {0: "prelu", 2: "smooth_prelu"}})
    table = pandas.concat([table.assign(slope="scalar"), table.assign(slope="vector", kl=table["kl"] * 2)])
    (axes,) = sweep_lines(table, x="flow.rank", by="slope").axes
    medians = [line for line in axes.lines if not line.get_label().startswith("_")]
    assert [line.get_linestyle() for line in medians] == ["None", "None"]
    assert not set(medians[0].get_xdata()) & set(medians[1].get_xdata())
    np.testing.assert_allclose(medians[1].get_ydata(), [4, 4 / 3])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["prelu", "smooth_prelu"]


def test_a_negative_estimate_is_drawn():
    table = sweep()
    table.loc[table["flow.depth"] == 12, "kl"] = -3e-4
    (axes,) = sweep_lines(table).axes
    assert axes.get_yscale() == "symlog"
    assert median_lines(axes)["rank 0"][-1] == pytest.approx([12, -3e-4])


@pytest.mark.parametrize("draw", [sweep_lines, sweep_heatmap])
def test_missing_column_error_lists_the_columns(draw):
    table = sweep().assign(**{"target.name": "banana"})
    with pytest.raises(ValueError, match=r"'flow.dept': there is no such column; allowed are flow.depth, "):
        draw(table, x="flow.dept")
    with pytest.raises(ValueError, match="'nll': there is no such column"):
        draw(table, value="nll")


@pytest.mark.parametrize("draw", [sweep_lines, sweep_heatmap])
def test_runs_that_differ_in_an_unnamed_setting_are_refused(draw):
    table = sweep().assign(**{"target.name": "banana"})
    with pytest.raises(ValueError, match="several runs have the same seed, so they differ in more than"):
        draw(table, x="target.name", **({"by": "flow.rank"} if draw is sweep_lines else {"y": "flow.rank"}))


@pytest.mark.parametrize("draw", [sweep_lines, sweep_heatmap])
def test_a_sweep_without_results_is_refused(draw):
    table = mark_failed(sweep().assign(**{"target.name": "banana"}), list(range(18)))
    with pytest.raises(ValueError, match="kl: no run has this result: 18 runs failed"):
        draw(table)


def test_too_many_lines_are_refused():
    table = pandas.DataFrame({"flow.depth": 1, "optimizer.lr": range(1, 20), "kl": 0.1})
    with pytest.raises(ValueError, match="19 lines are too many"):
        sweep_lines(table, by="optimizer.lr")


def heatmap_table():
    table = sweep()[lambda t: t["flow.rank"] == 0].drop(columns="flow.rank")
    table = pandas.concat([table.assign(**{"target.name": "two_moons"}), table.assign(**{"target.name": "banana"})])
    return table.reset_index(drop=True)


def test_sweep_heatmap_draws_medians_and_marks_failed_cells():
    table = mark_failed(heatmap_table(), [3, 4, 5, 9])  # two_moons at depth 2; one seed of banana at depth 1
    table = table[~((table["target.name"] == "banana") & (table["flow.depth"] == 12))]
    (axes,) = sweep_heatmap(table).axes
    mesh, expected = axes.collections[0], np.array([[2, np.nan, 2 / 144], [2.5, 2 / 4, np.nan]])
    np.testing.assert_allclose(mesh.get_array().filled(np.nan), expected)
    assert isinstance(mesh.norm, LogNorm)
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {
        (0.5, 0.5): "2",
        (1.5, 0.5): "failed",
        (2.5, 0.5): "0.014",
        (0.5, 1.5): "2.5",
        (1.5, 1.5): "0.5",
        (2.5, 1.5): "no run",
    }
    assert [patch.get_xy() for patch in axes.patches if patch.get_hatch()] == [(1, 0), (2, 1)]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["two_moons", "banana"]
    assert axes.get_title(loc="left") == "KL(target || flow) in nats\nmedian of 2 to 3 seeds; 4 runs failed"


def test_values_near_zero_share_the_darkest_colour():
    table = heatmap_table()
    table.loc[table["flow.depth"] == 12, "kl"] = -1e-5
    norm = sweep_heatmap(table).axes[0].collections[0].norm
    assert (norm.vmin, norm.vmax) == pytest.approx((0.5, 2))


def test_targets_with_one_name_are_labelled_with_their_numbers():
    mean = [[1.0, 1.0]] * 9 + [[0.0, 1.0]] * 9
    table = heatmap_table().assign(**{"target.name": "gaussian", "target.mean": mean})
    (axes,) = sweep_heatmap(table, y=["target.name", "target.mean"]).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["gaussian, mean [1, 1]", "gaussian, mean [0, 1]"]


def test_density_panels_share_the_first_panels_scale_and_begin_a_row_for_each_target():
    rng = np.random.default_rng(0)
    densities = [scale * rng.random((20, 20)) for scale in (1, 5, 1, 3, 1)]
    bounds = [((-1.0, 1.0), (0.0, 2.0))] * 3 + [((0.0, 1.0), (0.0, 1.0))] * 2
    figure = density_panels(densities, list("abcde"), bounds, targets=["s", "s", "s", "t", "t"])
    meshes = [axes.collections[0] for axes in figure.axes]
    for mesh, density in zip(meshes, densities, strict=True):
        np.testing.assert_array_equal(mesh.get_array(), density.T)
    assert [mesh.get_clim()[1] for mesh in meshes] == [densities[0].max()] * 3 + [densities[3].max()] * 2
    places = [axes.get_subplotspec() for axes in figure.axes]
    assert [(place.rowspan.start, place.colspan.start) for place in places] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]


def test_density_panels_refuse_an_empty_list_and_missing_titles():
    with pytest.raises(ValueError, match="no density"):
        density_panels([], [], [])
    with pytest.raises(ValueError, match="zip"):
        density_panels([np.eye(3)], [], [])
