"""torch distributions as bases: nested transforms, cached results, empty batches."""

import math

import pytest
import torch
from torch.distributions import Dirichlet, Gumbel, Independent, Laplace, VonMises

from flowlab import Flow
from flowlab.bijectors import AffineScalar, Chain


def test_base_with_inverse_transforms():
    """torch builds Gumbel from two logarithms, each the inverse of an exponential map."""
    base = Gumbel(torch.tensor(0.5), torch.tensor(2.0))
    flow = Flow(base, AffineScalar(scale=3.0)).double()
    y = torch.tensor([-4.0, 0.0, 7.0], dtype=torch.float64)
    torch.testing.assert_close(flow.log_prob(y).float(), base.log_prob(y.float() / 3) - math.log(3))
    assert flow.sample((4,)).dtype == torch.float64


def test_results_cached_later_do_not_change_the_base():
    distribution = VonMises(torch.tensor(0.0), torch.tensor(1.0))
    flow = Flow(distribution, AffineScalar())
    before = flow.log_prob(torch.tensor(0.3))
    distribution.sample()  # caches a tensor
    assert flow.log_prob(torch.tensor(0.3)) == before


@pytest.mark.parametrize("shape", [(0,), (2, 0)])
def test_log_prob_of_an_empty_batch_is_empty(shape):
    for distribution in (Independent(Laplace(torch.zeros(3), torch.ones(3)), 1), Dirichlet(torch.ones(3))):
        assert Flow(distribution, Chain([])).log_prob(torch.zeros(*shape, 3)).shape == shape
