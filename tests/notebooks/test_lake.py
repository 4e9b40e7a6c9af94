"""The figure of the lake marks waypoints in the water; the density of the trips has mass 1 and fits their samples."""

import numpy as np
import pytest
import torch
from lesson_figures import Trips, lake_policies, water_probability
from matplotlib.colors import to_rgba
from matplotlib.patches import Circle

from flowlab.plotting.figures import BLUE, VERMILION
from flowlab.seeding import generator

DRY = np.array([[2.0, 0.0], [-1.5, 1.5]])
WET = np.array([[0.5, -0.5]])
BOUNDS = ((-3.0, 3.0), (-4.0, 4.0))


def draw(waypoints, titles):
    return lake_policies(waypoints, titles, 1.4, (0.0, -3.0), (0.0, 3.0), BOUNDS)


def test_waypoints_in_the_water_look_different():
    figure = draw([np.concatenate([WET, DRY]), DRY], ["first", "second"])
    dry, wet = figure.axes[0].collections
    np.testing.assert_array_equal(dry.get_offsets(), DRY)
    np.testing.assert_array_equal(wet.get_offsets(), WET)
    np.testing.assert_allclose(dry.get_facecolors()[0, :3], to_rgba(BLUE)[:3])
    np.testing.assert_allclose(wet.get_edgecolors()[0], to_rgba(VERMILION))
    assert len(figure.axes[1].collections[1].get_offsets()) == 0
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["first", "second"]


def test_lake_agent_and_house_are_at_their_positions():
    axes = draw([DRY], ["policy"]).axes[0]
    (lake,) = axes.patches
    assert isinstance(lake, Circle)
    assert (lake.get_radius(), lake.get_center()) == (1.4, (0.0, 0.0))
    places = {text.get_text(): tuple(text.xy) for text in axes.texts}
    assert places == {"agent": (0.0, -3.0), "house": (0.0, 3.0)}
    np.testing.assert_array_equal([line.get_xydata()[0] for line in axes.lines], list(places.values()))
    assert (axes.get_xlim(), axes.get_ylim(), axes.get_aspect()) == (*BOUNDS, 1.0)


def test_an_empty_list_and_missing_titles_are_refused():
    with pytest.raises(ValueError, match="no policy"):
        draw([], [])
    with pytest.raises(ValueError, match="shorter"):
        draw([DRY, DRY], ["one"])


def test_the_density_of_the_trips_has_mass_1_and_agrees_with_samples():
    assert water_probability(Trips(), 4.0) == pytest.approx(1, abs=1e-3)  # quadrature over all but a millionth
    radii = Trips().sample(100_000, generator(0, "trips")).norm(dim=-1)
    inside = (radii < 2.0).double().mean().item()
    assert inside == pytest.approx(water_probability(Trips(), 2.0), abs=0.006)  # four standard errors


def test_the_trips_are_the_same_in_west_and_east():
    x = Trips().sample(100, generator(1, "trips"))
    torch.testing.assert_close(Trips().log_prob(x), Trips().log_prob(-x))
