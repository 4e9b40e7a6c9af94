"""Splines whose bins are tensors of their own, as a compiler has them, against bins in the first dimension."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from flowlab.bijectors.maps import CircularSpline, Spline
from flowlab.bijectors.maps.bins import LARGEST_UNROLLED, Stacked, Unrolled, split_bins


@pytest.mark.parametrize("method", ["forward_and_log_det", "inverse_and_log_det"])
@pytest.mark.parametrize("spline", [Spline(5, 3.0), CircularSpline(4)], ids=repr)
def test_unrolled_bins_give_the_same_values_and_gradients(spline, method):
    generator = torch.Generator().manual_seed(0)
    points = 4 * torch.randn(500, 2, generator=generator, dtype=torch.float64)
    parameters = torch.randn(500, 2, spline.size, generator=generator, dtype=torch.float64)

    def all_of(points, parameters):
        points, parameters = points.detach().requires_grad_(), parameters.detach().requires_grad_()
        result, log_det = getattr(spline, method)(points, parameters)
        return result, log_det, *torch.autograd.grad((result * log_det).sum(), (points, parameters))

    traced = make_fx(all_of)(points, parameters)
    assert not [node for node in traced.graph.nodes if "cumsum" in str(node.target)]
    for ours, expected in zip(traced(points, parameters), all_of(points, parameters), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("method", ["forward_and_log_det", "inverse_and_log_det"])
@pytest.mark.parametrize("shapes", [((7, 3), (3,)), ((3,), (7, 3)), ((2, 7, 3), (1,)), ((), (7, 3))], ids=str)
def test_points_and_parameters_of_other_shapes_broadcast(shapes, method):
    spline, generator = Spline(4, 3.0), torch.Generator().manual_seed(0)
    points, batch = 2 * torch.randn(shapes[0], generator=generator, dtype=torch.float64), shapes[1]
    parameters = torch.randn(*batch, spline.size, generator=generator, dtype=torch.float64)
    common = torch.broadcast_shapes(points.shape, batch)
    expected = getattr(spline, method)(points.expand(common), parameters.expand(*common, -1))
    torch.testing.assert_close(getattr(spline, method)(points, parameters), expected)


def test_bins_are_unrolled_for_a_compiler_alone_and_if_there_are_few():
    kinds = []

    def split(numbers):
        kinds.append(type(split_bins(numbers, (numbers.shape[-1] // 2,) * 2)[0]))
        return numbers

    for size in (3, LARGEST_UNROLLED + 1):
        split(torch.zeros(4, 2 * size))
        make_fx(split)(torch.zeros(4, 2 * size))
    assert kinds == [Stacked, Unrolled, Stacked, Stacked]
