"""The event shape decides which figures a run has; they draw the flow and the target."""

import math

import numpy as np
import pandas
import pytest
import torch
from torch.distributions import Independent, Normal

from flowlab import Flow, compose, train
from flowlab.bijectors import AffineScalar, Chain
from flowlab.plotting import flow_samples, grid_density, layer_samples, run_densities, run_figures, target_density
from flowlab.targets import FileTarget
from flowlab.targets.base import Batch, Target

QUICK = ("max_steps=1", "flow.depth=1", "batch_size=8", "test_size=50", "validation_size=50", "trainer.progress=off")
METRICS = pandas.DataFrame({"step": [0, 10, 20], "loss": [3.0, 2.0, 1.5], "nll": [math.nan, 2.1, math.nan]})


class Normals(Target):
    """Standard normal points of any event shape."""

    def __init__(self, *event):
        self.event_shape = event
        self.bounds = ((-3.0, 3.0),) * math.prod(event)

    columns = ("cost in $", "b", "c", "d", "e")

    def rows(self, split, count, seed, dtype=torch.float32):
        return torch.randn(count, *self.event_shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def normal_flow(*event):
    base = Independent(Normal(torch.zeros(event), torch.ones(event)), len(event)) if event else Normal(0.0, 1.0)
    return Flow(base, Chain([AffineScalar(scale=2.0), AffineScalar(shift=1.0)]))


def draw(*event):
    return run_figures(normal_flow(*event), Normals(*event), METRICS, seed=3, loss_label="reverse KL")


@pytest.mark.parametrize(
    ("event", "names"),
    [
        ((), ["samples", "loss"]),
        ((1,), ["samples", "loss"]),
        ((2,), ["samples", "density", "layers", "loss"]),
        ((5,), ["samples", "layers", "loss"]),
        ((1, 4, 4), ["loss"]),
    ],
)
def test_figures_that_do_not_fit_the_event_shape_are_left_out(event, names):
    assert list(draw(*event)) == names


def test_conditional_flow_is_sampled_at_the_contexts_of_the_points(monkeypatch):
    def batch(self, *words):
        x = self.rows(*words)
        return Batch(x, torch.zeros(len(x), 3))

    monkeypatch.setattr(Normals, "batch", batch)
    figures = draw(2)
    assert list(figures) == ["samples", "loss"]
    points, samples = (axes.collections[0].get_offsets() for axes in figures["samples"].axes)
    assert points.shape == samples.shape


def test_more_than_two_columns_are_drawn_in_a_grid_of_equal_numbers_of_points():
    figure = draw(5)["samples"]
    assert len(figure.axes) == 25
    assert {len(axes.collections[0].get_offsets()) for axes in figure.axes if axes.collections} == {1000}
    assert "the figure density shows points with two columns alone" in figure.get_suptitle()


def test_as_many_samples_as_points_are_drawn(tmp_path):
    np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(90, 2)))
    figure = run_figures(normal_flow(2), FileTarget(tmp_path / "points.npy"), METRICS, seed=3)["samples"]
    assert [len(axes.collections[0].get_offsets()) for axes in figure.axes] == [14, 14]


def test_points_are_drawn_by_their_weights(tmp_path):
    x = np.random.default_rng(0).normal(size=(900, 2))
    np.savez(tmp_path / "points.npz", a=x[:, 0], b=x[:, 1], w=1.0 * (x[:, 0] > 0))
    target = FileTarget(tmp_path / "points.npz", weights="w")
    figure = run_figures(normal_flow(2), target, METRICS, seed=3)["samples"]
    assert (figure.axes[0].collections[0].get_offsets()[:, 0] > 0).all()
    density, _ = target_density(target, 0, torch.zeros(()), size=40)
    x1 = torch.linspace(*target.bounds[0], 40)
    assert density[x1 < -0.3].sum() == 0 < density.sum()


def test_scalars_are_drawn_as_histograms():
    assert [len(axes.patches) for axes in draw()["samples"].axes] == [60, 60]


def test_figures_draw_the_flow_and_the_target():
    flow, target, figures = normal_flow(2), Normals(2), draw(2)
    points, samples = (axes.collections[0].get_offsets() for axes in figures["samples"].axes)
    np.testing.assert_array_equal(points, target.rows("test", 4000, 3))
    np.testing.assert_array_equal(samples, flow_samples(flow, 4000, 3))
    known, learned = (axes.collections[0].get_array() for axes in figures["density"].axes[:2])
    like = torch.zeros(())
    np.testing.assert_allclose(known, target_density(target, 3, like)[0].T)
    np.testing.assert_allclose(learned, grid_density(flow, target.bounds, like).T)
    layers, names = layer_samples(flow, 3)
    np.testing.assert_array_equal([axes.collections[0].get_offsets() for axes in figures["layers"].axes], layers)
    assert [axes.get_title(loc="left") for axes in figures["layers"].axes] == names
    assert figures["samples"].axes[0].get_xlabel() == r"cost in \$"


def test_loss_curve_has_its_label_and_only_validated_steps():
    curve, held_out = draw(2)["loss"].axes[0].lines
    np.testing.assert_array_equal(curve.get_xydata(), METRICS[["step", "loss"]])
    np.testing.assert_array_equal(held_out.get_xydata(), [[10, 2.1]])
    assert curve.get_label() == "reverse KL"


def test_layers_are_images_of_the_same_points():
    (base, scaled, shifted), names = layer_samples(normal_flow(2), seed=0, count=50)
    torch.testing.assert_close(scaled, 2 * base)
    torch.testing.assert_close(shifted, 2 * base + 1)
    assert names == ["base", "1 AffineScalar", "2 AffineScalar"]


def test_first_index_of_a_grid_density_is_x1():
    density = Independent(Normal(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5])), 1)
    grid = grid_density(density, ((-3.0, 3.0), (-2.0, 4.0)), torch.zeros(()), size=61)
    assert divmod(int(grid.argmax()), 61) == (40, 20)
    assert float(grid.sum()) * 0.1**2 == pytest.approx(1, abs=0.01)


def test_unknown_density_is_drawn_as_a_histogram():
    class Corner(Normals):
        def rows(self, split, count, seed, dtype=torch.float32):
            return torch.tensor([[2.5, -2.5]] * 100, dtype=dtype)

    density, title = target_density(Corner(2), 0, torch.zeros(()), size=40)
    assert title == "histogram of the data"
    row, column = divmod(int(density.argmax()), 40)
    assert row > 30
    assert column < 10


def test_panels_tell_files_of_one_name_apart(tmp_path):
    """So do other settings in which targets of one name differ."""
    runs = []
    for place, file in enumerate(["a/points.npy", "b/points.npy"]):
        (tmp_path / file).parent.mkdir()
        np.save(tmp_path / file, np.random.default_rng(place).normal(size=(40, 2)))
        runs.append(train(compose("target=file", f"target.path={tmp_path / file}", *QUICK), tmp_path / f"{place}"))
    for place, mean in enumerate(["[0,0]", "[1,1]"], start=2):
        runs.append(train(compose("target=gaussian", f"target.mean={mean}", *QUICK), tmp_path / f"{place}"))
    runs.append(train(compose("target=banana", *QUICK), tmp_path / "4"))
    titles = run_densities(runs, ["flow"] * 5)["titles"][::2]
    assert titles == [
        "file, path a/points.npy, histogram of the data",
        "file, path b/points.npy, histogram of the data",
        "gaussian, mean [0, 0], exact density",
        "gaussian, mean [1, 1], exact density",
        "banana, exact density",
    ]
    assert run_densities(runs[:1], ["flow"])["titles"][0] == "histogram of the data"
    np.save(tmp_path / "c.npy", np.random.default_rng(0).normal(size=(40, 3)))
    run = train(compose("target=file", f"target.path={tmp_path}/c.npy", *QUICK), tmp_path / "5")
    assert run_densities([run], ["flow"])["densities"] == [], "three columns have no panel"
