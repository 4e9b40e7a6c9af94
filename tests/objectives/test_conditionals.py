"""Bijectors whose coordinates are affine one after another: shifts, scales, and which bijectors have that form."""

import pytest
import torch
from torch import nn

from flowlab.bijectors import AffineScalar, Chain, MaskedAutoregressive, Tanh
from flowlab.bijectors.maps import Additive, Affine, Spline
from flowlab.networks import MaskedMLP
from flowlab.objectives._conditionals import AffineCoordinates

DIM = 4


def layer(map=None, order=None, seed=0):
    """An autoregressive layer with random weights."""
    map, draw = map or Affine(), torch.Generator().manual_seed(seed)
    made = MaskedAutoregressive(MaskedMLP(DIM, map.size, [16], order=order), map)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=draw))
    return made.double()


CHAINS = {
    "one layer": lambda: layer(),
    "one layer, inverted": lambda: layer(Affine().inv).inv,
    "shifts": lambda: layer(Additive()),
    "several layers in one order": lambda: layer() | layer(seed=1).inv | layer(seed=2),
    "a falling map at the end": lambda: (
        layer() | AffineScalar(0.5, torch.tensor([-2.0, 1.0, 0.5, -0.3], dtype=torch.float64))
    ),
    "another order": lambda: layer(order=[2, 0, 3, 1]) | layer(order=[2, 0, 3, 1], seed=1),
}


@pytest.mark.parametrize("name", CHAINS)
def test_shifts_and_scales_are_those_of_the_jacobian(name):
    bijector = CHAINS[name]()
    x = torch.randn(DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    slopes = torch.autograd.functional.jacobian(bijector.forward, x).diagonal()
    y, shift, log_scale = AffineCoordinates(bijector).forward(x)
    torch.testing.assert_close(y, bijector.forward(x))
    torch.testing.assert_close(log_scale, slopes.abs().log())
    torch.testing.assert_close(y, shift + slopes * x)
    back, shift_again, log_scale_again = AffineCoordinates(bijector).inverse(y)
    torch.testing.assert_close((back, shift_again, log_scale_again), (x, shift, log_scale))


@pytest.mark.parametrize("name", CHAINS)
def test_the_shift_depends_on_the_coordinates_before_alone(name):
    bijector = CHAINS[name]()
    coordinates = AffineCoordinates(bijector)
    x = torch.randn(DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    for number in range(DIM):
        moved = x.clone()
        moved[number] += 1.0
        _, *before = coordinates.forward(x)
        _, *after = coordinates.forward(moved)
        for old, new in zip(before, after, strict=True):
            torch.testing.assert_close(old[number], new[number])


def test_gradients_reach_the_parameters():
    bijector = layer()
    loss = sum(part.square().sum() for part in AffineCoordinates(bijector).forward(torch.ones(3, DIM).double()))
    assert all(gradient.abs().max() > 0 for gradient in torch.autograd.grad(loss, list(bijector.parameters())))


def test_other_bijectors_are_refused_in_words():
    with pytest.raises(
        ValueError, match=r"layer 2, MaskedAutoregressive of Spline.*, is not affine in each coordinate"
    ):
        AffineCoordinates(layer() | layer(Spline(4, 3.0)))
    with pytest.raises(ValueError, match="layer 2, Tanh, is not affine"):
        AffineCoordinates(Chain([AffineScalar(), Tanh()]))
    with pytest.raises(ValueError, match="layer 3 takes the coordinates in a different order than those before it"):
        AffineCoordinates(layer() | AffineScalar() | layer(order=[3, 2, 1, 0]))


def test_elementwise_maps_fit_any_order():
    assert AffineCoordinates(AffineScalar(nn.Parameter(torch.zeros(DIM)), 2.0)).order is None
    assert AffineCoordinates(layer(order=[2, 0, 3, 1]) | AffineScalar()).order == [2, 0, 3, 1]
