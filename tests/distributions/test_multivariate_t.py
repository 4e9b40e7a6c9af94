"""The multivariate t distribution against scipy's, and its samples."""

import pytest
import scipy.stats
import torch

from flowlab.distributions.base import Base
from flowlab.distributions.multivariate_t import NORMAL, MultivariateT


@pytest.mark.parametrize("degrees", [0.5, 1.0, 3.0, 30.0])
@pytest.mark.parametrize("dim", [1, 2, 20])
def test_the_log_density_is_scipys(degrees, dim):
    x = 3 * torch.randn(50, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = torch.as_tensor(scipy.stats.multivariate_t(df=degrees, shape=torch.eye(dim).numpy()).logpdf(x.numpy()))
    found = MultivariateT(torch.tensor(degrees, dtype=torch.float64), dim).log_prob(x)
    torch.testing.assert_close(found, expected.reshape(50), rtol=1e-9, atol=1e-9)


def test_with_very_many_degrees_it_is_normal_in_single_precision():
    x = 3 * torch.randn(50, 64, generator=torch.Generator().manual_seed(0))
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(-1)
    torch.testing.assert_close(Base(MultivariateT(torch.tensor(NORMAL), 64)).log_prob(x), normal, rtol=0, atol=0.01)


def test_samples_have_its_radius():
    base = Base(MultivariateT(torch.tensor(3.0), 4))
    x = base.rsample((20_000,), torch.Generator().manual_seed(0))
    # |x|^2 / d has an F distribution with d and v degrees of freedom.
    found = scipy.stats.kstest((x.square().sum(-1) / 4).numpy(), scipy.stats.f(4, 3).cdf)
    assert x.shape == (20_000, 4)
    assert found.pvalue > 0.001


@pytest.mark.parametrize(("degrees", "dim"), [(torch.tensor(0.0), 2), (torch.ones(2), 2), (torch.tensor(1.0), 0)])
def test_wrong_arguments_are_refused(degrees, dim):
    with pytest.raises(ValueError, match="MultivariateT: "):
        MultivariateT(degrees, dim)
