"""Points, parameters and contexts of different dtypes are computed in the wider one, half precision in float32."""

import itertools

import pytest
import torch
from torch import nn
from torch.distributions import Gamma, Independent, MultivariateNormal, transform_to

from flowlab import Flow, StandardNormal
from flowlab.bijectors import DiscreteCosineTransform, Exp, Inline, LowRankAffine, NormalCDF, Planar, SmoothPReLU
from flowlab.bijectors.examples import DIM, EXAMPLES

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
PAIRS = list(itertools.product(DTYPES, DTYPES))


def computed(*dtypes):
    """The dtype of points and of log dets."""
    common = torch.promote_types(*dtypes)
    return common, (common if common in DTYPES[:2] else torch.float32)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_bijector_computes_in_the_wider_dtype(name):
    bijector = EXAMPLES[name]()
    x = transform_to(bijector.domain)(0.5 * torch.randn(5, DIM))
    y = bijector(x).detach()
    held = [tensor for tensor in [*bijector.parameters(), *bijector.buffers()] if tensor.is_floating_point()]
    for own, given in PAIRS:
        bijector = EXAMPLES[name]().to(own)
        dtype, log_det_dtype = computed(own if held else given, given)
        there, back = bijector.forward_and_log_det(x.to(given)), bijector.inverse_and_log_det(y.to(given))
        assert [each.dtype for each in (*there, *back)] == [dtype, log_det_dtype] * 2
        assert bijector(x.to(given)).dtype == bijector.inverse(y.to(given)).dtype == dtype
        torch.testing.assert_close(there[0].float(), y, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    "flow",
    [
        Flow(StandardNormal(3), LowRankAffine(3, 1) | SmoothPReLU() | Planar(3)),
        Flow(MultivariateNormal(torch.zeros(3), torch.eye(3)), DiscreteCosineTransform() | Exp()),
        Flow(Independent(Gamma(torch.ones(3), 1.0), 1), NormalCDF()),
    ],
)
def test_a_flow_computes_in_the_wider_dtype(flow):
    for own, given in PAIRS:
        flow = flow.to(own)
        dtype, density_dtype = computed(own, given)
        y = flow.sample((4,))
        assert y.dtype == own
        assert flow.log_prob(y.to(given)).dtype == flow.prepared().log_prob(y.to(given)).dtype == density_dtype
        for points, log_prob in (flow.inverse_and_log_prob(y.to(given)), flow.push_forward(y.to(given))):
            assert (points.dtype, log_prob.dtype) == (dtype, density_dtype)


def test_gradients_reach_parameters_in_another_dtype():
    flow = Flow(StandardNormal(2), LowRankAffine(2, 1))
    y = torch.randn(5, 2, dtype=torch.float64)
    found = torch.autograd.grad(flow.log_prob(y).sum(), flow.bijector.shift)[0]
    expected = torch.autograd.grad(flow.log_prob(y.float()).sum(), flow.bijector.shift)[0]
    torch.testing.assert_close(found, expected)
    assert found.dtype == torch.float32


def test_a_context_is_converted():
    net = nn.Linear(3, 2)
    shift = Inline(
        lambda x, context, net: x + net(context), lambda y, context, net: y - net(context), event_dim=1, net=net
    )
    context = torch.randn(5, 3, dtype=torch.float64)
    for each in (context, context.bfloat16()):
        assert shift(torch.zeros(5, 2), each).dtype == torch.float32
        assert Flow(StandardNormal(2), shift).log_prob(torch.zeros(5, 2), each).dtype == torch.float32


@pytest.mark.parametrize("call", [Exp(), LowRankAffine(2).inverse, Flow(StandardNormal(2), SmoothPReLU()).log_prob])
def test_complex_points_are_refused(call):
    with pytest.raises(ValueError, match=r"complex.*; give"):
        call(torch.ones(3, 2, dtype=torch.complex64))
