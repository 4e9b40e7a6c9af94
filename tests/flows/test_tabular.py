"""The flow for tables: it starts at the best ellipse of the rows, and its size follows their number."""

import numpy as np
import pytest
import torch

from flowlab import ConfigError
from flowlab.bijectors import stages
from flowlab.config.compose import compose
from flowlab.flows._assemble import assemble
from flowlab.flows._elliptical import fit_ellipse
from flowlab.seeding import generator
from flowlab.targets.base import Batch


def draw(rows, columns, degrees=None, seed=0):
    """Rows of a correlated normal or multivariate t distribution, of shape (rows, columns)."""
    draws = np.random.default_rng(seed)
    x = draws.normal(size=(rows, columns)) @ draws.normal(size=(columns, columns)) + 5
    if degrees is not None:
        x = 5 + (x - 5) / np.sqrt(draws.chisquare(degrees, size=(rows, 1)) / degrees)
    return torch.as_tensor(x)


def started(x, *words, context=None, units=None):
    """The flow before its first step, initialized from rows x and their contexts."""
    architecture = compose("flow=tabular", *words).flow.follow_data(*x.shape)
    shape = None if context is None else (context.shape[1],)
    flow = assemble(architecture, (x.shape[1],), shape, generator(0, "start"), units, torch.float64)
    architecture.initialize(flow, Batch(x, context))
    return flow


@pytest.mark.parametrize("columns", [1, 2, 7, 20])
def test_it_starts_as_the_gaussian_of_normal_rows(columns):
    x = draw(4000, columns)
    units = (x.mean(0) + 1, 3 * x.std(0))  # any standardization
    gaussian = torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T, correction=0).reshape(columns, columns))
    flow = started(x, units=units)
    gain = (flow.log_prob(x) - gaussian.log_prob(x)).mean().item()
    assert -1e-4 < gain < 0.01


def test_it_starts_as_the_t_distribution_of_rows_with_heavy_tails():
    x, held_out = draw(5000, 4, degrees=3), draw(5000, 4, degrees=3, seed=0)
    gaussian = torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T))
    flow = started(x)
    assert float(flow.base.get_buffer("degrees")) == 3
    assert flow.log_prob(held_out).mean().item() > float(gaussian.log_prob(held_out).mean()) + 0.3


@pytest.mark.parametrize(("rows", "columns"), [(30, 40), (5, 3), (2, 2)])
def test_few_rows_of_many_columns_have_a_density(rows, columns):
    x = draw(2 * rows, columns)
    ellipse = fit_ellipse(x[:rows])
    assert ellipse.log_prob(x).isfinite().all()
    # The variances of the columns alone are a distribution to compare with.
    independent = torch.distributions.Normal(x[:rows].mean(0), x[:rows].std(0)).log_prob(x[rows:]).sum(-1)
    assert rows < 10 or float(ellipse.log_prob(x[rows:]).mean()) > float(independent.mean()) - 1


def test_nearly_collinear_and_repeated_rows_have_a_density():
    x = draw(500, 3)
    x = torch.cat([x, x[:, :1] + 1e-9 * x[:, 1:2]], 1)
    x[:400] = x[0]  # so a t distribution of few degrees would shrink to a point
    assert fit_ellipse(x).log_prob(x).isfinite().all()


@pytest.mark.parametrize("x", [[[1.0, torch.nan], [0.0, 1.0]], [[1e200, 1.0], [0.0, 1.0]], [[torch.inf, 1.0]]])
def test_rows_without_a_t_distribution_are_named(x):
    with pytest.raises(ConfigError, match=r"flow=tabular: starts at the t distribution of \d training rows"):
        fit_ellipse(torch.tensor(x, dtype=torch.float64))
    with pytest.raises(ConfigError, match="of 0 training rows"):
        fit_ellipse(torch.empty(0, 2))


def test_its_size_follows_rows_and_columns():
    flow = compose("flow=tabular").flow
    sizes = [flow.follow_data(*size) for size in ((100, 5), (5000, 20), (100_000, 7), (1000, 64), (10**6, 200))]
    assert [size.depth for size in sizes] == [1, 2, 3, 1, 3]
    assert [size.hidden[0] for size in sizes] == [32, 64, 128, 64, 200]
    fixed = compose("flow=tabular", "flow.depth=5", "flow.hidden=[7]").flow
    assert fixed.follow_data(100, 5) == fixed


def test_samples_come_back_and_the_start_is_not_trained():
    flow = started(draw(300, 3, degrees=5), "flow.depth=2")
    x = flow.sample((100,), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(flow.bijector.forward(flow.bijector.inverse(x)), x, rtol=1e-6, atol=1e-6)
    frozen = [name for name, parameter in flow.named_parameters() if not parameter.requires_grad]
    assert len(frozen) == 4, frozen  # scale and shift of the affine maps at both ends


@pytest.mark.parametrize(("degrees", "outside"), [(None, False), (15, False), (2, True)])
def test_the_box_of_the_splines_holds_far_rows_and_the_start_is_the_same(degrees, outside):
    x = draw(3000, 3, degrees)
    ellipse, flow = fit_ellipse(x), started(x)
    far = ellipse.standardize(x).abs().max().item()
    inner = stages(flow.bijector)[-1].inverse(x).abs().max().item()
    assert inner == pytest.approx(far if far <= 5 else max(5, far / 2))
    assert (inner > 5.001) == outside, "rows beyond ten standard deviations stay outside"
    torch.testing.assert_close(flow.log_prob(x), ellipse.log_prob(x))


def regressed(rows, columns, contexts, degrees=None, seed=0):
    """Rows that are linear in contexts up to an error, the contexts, and their coefficients."""
    slopes = torch.as_tensor(np.random.default_rng(1).normal(size=(columns, contexts)))
    c = torch.as_tensor(np.random.default_rng(seed).normal(size=(rows, contexts)))
    return c @ slopes.mT + draw(rows, columns, degrees, seed=seed + 1), c, slopes


@pytest.mark.parametrize("degrees", [None, 3])
def test_with_contexts_it_starts_as_the_linear_regression_on_them(degrees):
    x, c, slopes = regressed(4000, 3, 5, degrees)
    flow = started(x, context=c, units=(x.mean(0) + 1, 3 * x.std(0)))
    assert float(flow.base.get_buffer("degrees")) in ((5, 8) if degrees else (1e8,))  # at least the points' own
    torch.testing.assert_close(fit_ellipse(x, c).slopes, slopes, rtol=0.1, atol=0.1)
    design = torch.cat([torch.ones(len(c), 1), c], 1)
    residuals = x - design @ torch.linalg.lstsq(design, x).solution
    gaussian = torch.distributions.MultivariateNormal(torch.zeros(3), torch.cov(residuals.T, correction=0))
    gain = (flow.log_prob(x, c) - gaussian.log_prob(residuals)).mean().item()
    assert gain == pytest.approx(0, abs=0.01) if degrees is None else gain > 0.2


def test_contexts_that_are_constant_collinear_or_as_many_as_rows_have_a_start():
    x, c, _ = regressed(60, 2, 3)
    wide = torch.cat([c, c.sum(1, keepdim=True), torch.ones(60, 1), draw(60, 40)], 1)
    x, held_out, c, given = x[:30], x[30:], wide[:30], wide[30:]
    ellipse = fit_ellipse(x, c)
    assert ellipse.slopes.isfinite().all()
    independent = torch.distributions.Normal(x.mean(0), x.std(0)).log_prob(held_out).sum(-1)
    assert float(ellipse.log_prob(held_out, given).mean()) > float(independent.mean()) - 1


def test_contexts_reach_the_splines():
    architecture = compose("flow=tabular").flow.follow_data(1000, 2)
    flow = assemble(architecture, (2,), (3,), generator(0, "start"))
    architecture.initialize(flow, Batch(draw(1000, 2).float(), torch.randn(1000, 3)))
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1 if parameter.requires_grad else 0)
    x = draw(1000, 2)[:5].float()
    assert (flow.log_prob(x, torch.zeros(5, 3)) != flow.log_prob(x, torch.ones(5, 3))).all()
