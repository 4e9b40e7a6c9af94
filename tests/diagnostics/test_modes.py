"""The mass per mode, and missing modes."""

import torch

from flowlab.diagnostics.modes import ModeCoverage, nearest, shares


def test_points_belong_to_the_nearest_centre():
    centres = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    places = nearest(torch.tensor([[1.0, 0.0], [3.0, 1.0], [1.0, 3.9], [0.0, 0.1]]), centres)
    assert places.tolist() == [0, 1, 2, 0]
    assert shares(places, 3) == (0.5, 0.25, 0.25)
    assert shares(places, 3, torch.tensor([1.0, 0.0, 2.0, 1.0])) == (0.5, 0.0, 0.5)


def test_missing_modes_have_less_than_a_tenth_of_their_mass():
    modes = ModeCoverage(flow=(0.9, 0.09, 0.01, 0.0), target=(0.5, 0.1, 0.4, 0.0))
    assert modes.missing == (3, 4)
    assert modes.covered == 0.5
