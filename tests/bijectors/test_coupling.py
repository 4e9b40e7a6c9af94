"""Couplings: which coordinates move, what they depend on, and contexts of any batch."""

import pytest
import torch
from torch.func import jacrev

from flowlab import Flow, StandardNormal
from flowlab.bijectors import Coupling
from flowlab.bijectors.maps import Affine, Spline
from flowlab.networks import MLP


def stirred(mask, map, context=0):
    bijector = Coupling(mask, MLP(len(mask) - sum(mask), sum(mask) * map.size, [8], context, "tanh"), map=map)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in bijector.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    return bijector.double()


@pytest.mark.parametrize("mask", [[False, True, True], [True, False, True, False], [True, True, False]])
def test_moved_coordinates_depend_on_themselves_and_on_all_that_stay(mask):
    jacobian = jacrev(stirred(mask, Spline(bins=3)))(torch.randn(len(mask), dtype=torch.float64))
    moves, same = torch.tensor(mask), torch.eye(len(mask), dtype=torch.bool)
    assert torch.equal(jacobian != 0, same | (moves[:, None] & ~moves[None, :]))
    assert torch.equal(jacobian[~moves], torch.eye(len(mask), dtype=torch.float64)[~moves])


def test_a_single_coordinate_moves_by_constants_and_by_the_context():
    bijector = stirred([True], Affine(), context=2)
    y = bijector(torch.zeros(5, 1, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64))
    assert len(y.unique()) == 5
    torch.testing.assert_close(bijector.inverse(bijector(y)), y)


@pytest.mark.parametrize("shape", [(2,), (5, 2), (7, 5, 2), (7, 1, 2)])
def test_contexts_broadcast_against_points(shape):
    bijector = stirred([False, True], Affine(), context=2)
    x, context = torch.randn(5, 2, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)
    y, log_det = bijector.forward_and_log_det(x, context)
    batch = torch.broadcast_shapes((5,), shape[:-1])
    assert y.shape == (*batch, 2)
    assert log_det.shape == batch
    back, inverse_log_det = bijector.inverse_and_log_det(y, context)
    torch.testing.assert_close(back, x.expand_as(back))
    torch.testing.assert_close(inverse_log_det, -log_det)
    flow = Flow(StandardNormal(2), bijector).double()
    assert flow.log_prob(x, context).shape == batch


def test_autocast_lowers_the_network_alone():
    bijector = stirred([False, True], Spline(bins=3)).float()
    x = torch.randn(100, 2)
    y = bijector(x)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, mixed_log_det = bijector.forward_and_log_det(x)
        again = bijector.inverse(mixed)
    assert mixed.dtype == mixed_log_det.dtype == torch.float32
    assert 0 < (mixed - y).abs().max() < 0.3
    torch.testing.assert_close(again, x, rtol=1e-3, atol=1e-3)  # as exact as in full precision


def test_a_mask_that_moves_nothing_is_refused():
    with pytest.raises(ValueError, match=r"mask=\[False, False\] moves no coordinate"):
        Coupling([False, False], map=Affine())
