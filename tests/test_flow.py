"""Flows against scipy and torch, and the integrals of their densities."""

import math

import pytest
import scipy.stats
import torch
from torch.distributions import Exponential, Independent, MultivariateNormal, Normal, TransformedDistribution, Uniform

from flowlab import Flow, StandardNormal
from flowlab.bijectors import (
    AffineScalar,
    Chain,
    Exp,
    ExponentialCDF,
    LowRankAffine,
    NormalCDF,
    Planar,
    PReLU,
    Sigmoid,
    SmoothPReLU,
    Tanh,
    to_transform,
)


def normal():
    return Normal(torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))


def uniform():
    return Uniform(torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))


# (flow, the same distribution in scipy)
KNOWN = {
    "lognormal": (lambda: Flow(normal(), Exp()), scipy.stats.lognorm(1.0)),
    "shifted lognormal": (
        lambda: Flow(normal(), Exp() | AffineScalar(shift=1.0, scale=2.0)),
        scipy.stats.lognorm(1.0, loc=1.0, scale=2.0),
    ),
    "decreasing": (lambda: Flow(normal(), AffineScalar(shift=1.0, scale=-2.0)), scipy.stats.norm(1.0, 2.0)),
    "exponential": (lambda: Flow(uniform(), ExponentialCDF(rate=0.5).inv), scipy.stats.expon(scale=2.0)),
    "logit-normal": (lambda: Flow(normal(), Sigmoid()), None),
    "normal from uniform": (lambda: Flow(uniform(), NormalCDF().inv), scipy.stats.norm()),
    "negated Gumbel": (
        lambda: Flow(Exponential(torch.tensor(1.0, dtype=torch.float64)), Exp().inv),
        scipy.stats.gumbel_l(),
    ),
}


@pytest.mark.parametrize("name", [name for name, (_, known) in KNOWN.items() if known is not None])
def test_equals_scipy(name):
    make, known = KNOWN[name]
    distribution = make().double().distribution()
    y = torch.tensor(known.ppf([0.001, 0.1, 0.5, 0.9, 0.999]))
    torch.testing.assert_close(distribution.log_prob(y), torch.tensor(known.logpdf(y)), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(distribution.cdf(y), torch.tensor(known.cdf(y)), rtol=1e-8, atol=1e-8)
    u = torch.tensor([0.01, 0.3, 0.99], dtype=torch.float64)
    torch.testing.assert_close(distribution.icdf(u), torch.tensor(known.ppf(u)), rtol=1e-7, atol=1e-7)
    samples = distribution.sample((20_000,))
    assert scipy.stats.kstest(samples.numpy(), known.cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", KNOWN)
def test_density_and_cdf_outside_the_support(name):
    make, known = KNOWN[name]
    distribution = make().double().distribution()
    low, high = (0.0, 1.0) if known is None else known.support()
    outside = torch.tensor([low - 1, high + 1, -torch.inf, torch.inf, torch.nan], dtype=torch.float64)
    outside = outside[~((outside > low) & (outside < high))]
    assert not distribution.log_prob(torch.tensor([low, high], dtype=torch.float64)).isnan().any()
    assert (distribution.log_prob(outside) == -torch.inf).all()
    below, above = distribution.cdf(torch.tensor([low - 1.0, high + 1.0], dtype=torch.float64))
    assert (below, above) == (0.0, 1.0)


def test_point_with_pre_image_outside_the_support_has_zero_density():
    flow = Flow(Exponential(torch.tensor(1.0)), AffineScalar(shift=1.0, scale=2.0))
    shift = flow.bijector.shift.requires_grad_()
    log_prob = flow.log_prob(torch.tensor([0.5, 2.0]))
    torch.testing.assert_close(log_prob, torch.tensor([-torch.inf, -0.5 - math.log(2.0)]))
    log_prob[1].backward()
    assert shift.grad.item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("base", "known"),
    [
        (Exponential(torch.tensor(1.0, dtype=torch.float64)), scipy.stats.expon(scale=2.0, loc=1.0)),
        (uniform(), scipy.stats.uniform(1.0, 2.0)),
    ],
    ids=["exponential", "uniform"],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_cdf_of_an_affine_map_of_a_bounded_base(base, known, sign):
    distribution = Flow(base, AffineScalar(shift=1.0 * sign, scale=2.0 * sign)).double().distribution()
    y = torch.tensor([-5.0, 0.5, 1.0, 1.5, 2.9, 9.0], dtype=torch.float64)
    expected = torch.tensor(known.cdf(y) if sign > 0 else 1 - known.cdf(y))
    torch.testing.assert_close(distribution.cdf(sign * y), expected)


def test_huge_points_have_zero_density(dtype):
    flow = mlp(dtype=dtype)
    huge = torch.finfo(dtype).max
    assert (flow.log_prob(torch.tensor([[huge, huge], [-huge, huge]], dtype=dtype)) == -torch.inf).all()


def test_a_mixture_can_be_the_base():
    modes = torch.distributions.Categorical(torch.ones(2))
    mixture = torch.distributions.MixtureSameFamily(modes, Normal(torch.tensor([-3.0, 3.0]), torch.ones(2)))
    flow = Flow(mixture, AffineScalar(scale=2.0))
    expected = mixture.log_prob(torch.tensor(1.0)) - math.log(2.0)
    torch.testing.assert_close(flow.log_prob(torch.tensor(2.0)), expected)
    samples = flow.sample((1000,), generator=torch.Generator().manual_seed(0))
    assert 5.5 < samples.abs().mean() < 6.5


def test_gradients_stay_finite_beside_points_outside_the_support():
    scale = torch.nn.Parameter(torch.tensor(2.0))
    flow = Flow(Normal(0.0, 1.0), Exp() | AffineScalar(scale=scale))
    log_prob = flow.log_prob(torch.tensor([-1.0, 0.5, torch.inf]))
    log_prob[log_prob.isfinite()].sum().backward()
    assert scale.grad.isfinite()


def mlp(dim=2, activation=SmoothPReLU, dtype=torch.float64):
    generator = torch.Generator().manual_seed(4)
    parts = []
    for _ in range(3):
        parts += [LowRankAffine(dim, dim, factor_scale=0.5, shift_scale=0.3, generator=generator), activation(0.5)]
    return Flow(StandardNormal(dim), Chain(parts[:-1])).to(dtype)


@pytest.mark.parametrize("activation", [SmoothPReLU, PReLU])
def test_density_integrates_to_one_in_two_dimensions(activation):
    flow = mlp(activation=activation)
    spread = flow.sample((20_000,), generator=torch.Generator().manual_seed(0))
    low, high = spread.min(0).values - 3, spread.max(0).values + 3
    axes = [torch.linspace(float(a), float(b), 1500, dtype=torch.float64) for a, b in zip(low, high, strict=True)]
    with torch.no_grad():
        total = flow.log_prob(torch.cartesian_prod(*axes)).exp().sum()
    cell = (axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0])
    # The density jumps at a hard kink, so the quadrature is only first order there.
    assert (total * cell).item() == pytest.approx(1.0, abs={SmoothPReLU: 1e-3, PReLU: 5e-3}[activation])


@pytest.mark.parametrize("name", KNOWN)
def test_density_integrates_to_one(name):
    make, known = KNOWN[name]
    low, high = (0.0, 1.0) if known is None else (known.ppf(1e-9), known.ppf(1 - 1e-9))
    y = torch.linspace(float(low), float(high), 400_001, dtype=torch.float64)
    with torch.no_grad():
        density = make().double().log_prob(y).exp()
    assert torch.trapezoid(density, y).item() == pytest.approx(1.0, abs=1e-3)


def test_equals_torch_transformed_distribution():
    flow = mlp()
    theirs = TransformedDistribution(
        MultivariateNormal(torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)),
        [to_transform(flow.bijector)],
    )
    y = torch.randn(50, 2, dtype=torch.float64)
    torch.testing.assert_close(flow.log_prob(y), theirs.log_prob(y))
    assert theirs.rsample((3,)).shape == (3, 2)


def test_an_affine_flow_is_a_gaussian():
    flow = Flow(StandardNormal(3), LowRankAffine(3, 2, shift_scale=1.0)).double()
    matrix, shift = flow.bijector.dense().detach(), flow.bijector.shift.detach()
    known = MultivariateNormal(shift, matrix @ matrix.T)
    distribution = flow.distribution()
    y = torch.randn(20, 3, dtype=torch.float64)
    torch.testing.assert_close(distribution.log_prob(y), known.log_prob(y))
    torch.testing.assert_close(distribution.entropy(), known.entropy())
    torch.testing.assert_close(distribution.mean, known.mean)


def test_quantities_without_closed_form_raise():
    distribution = mlp().distribution()
    for name, ask in (
        ("entropy", distribution.entropy),
        ("mean", lambda: distribution.mean),
        ("cdf", lambda: distribution.cdf(torch.zeros(2))),
        ("icdf", lambda: distribution.icdf(torch.zeros(2))),
    ):
        with pytest.raises(NotImplementedError, match=name):
            ask()


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_shapes_of_samples_and_log_prob(shape):
    flow = mlp()
    distribution = flow.distribution()
    assert distribution.event_shape == (2,)
    assert distribution.batch_shape == ()
    sample = distribution.rsample(shape)
    assert sample.shape == (*shape, 2)
    assert distribution.log_prob(sample).shape == shape
    sample, log_prob = flow.rsample_and_log_prob(shape)
    torch.testing.assert_close(log_prob, flow.log_prob(sample))


def test_batch_dimensions_of_the_base_become_the_event():
    base = Normal(torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64))
    flow = Flow(base, LowRankAffine(2, 1)).double()
    assert flow.distribution().event_shape == (2,)
    same = Flow(StandardNormal(2), flow.bijector)
    y = torch.randn(5, 2, dtype=torch.float64)
    torch.testing.assert_close(flow.log_prob(y), same.log_prob(y))
    with pytest.raises(ValueError, match="bijector maps events of 1"):
        Flow(normal(), LowRankAffine(2))


def test_samples_are_reparameterized():
    shift = torch.nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
    flow = Flow(normal(), AffineScalar(shift=shift, scale=2.0)).double()
    flow.rsample((1000,)).mean().backward()
    assert shift.grad.item() == pytest.approx(1.0)
    assert not flow.sample((2,)).requires_grad


def test_a_generator_determines_the_samples():
    for base in (StandardNormal(2), Independent(Uniform(torch.zeros(2), torch.ones(2)), 1)):
        flow = Flow(base, Tanh())
        first = flow.sample((5,), generator=torch.Generator().manual_seed(1))
        state = torch.get_rng_state()
        generator = torch.Generator().manual_seed(1)
        second, third = flow.sample((5,), generator=generator), flow.sample((5,), generator=generator)
        assert torch.equal(first, second)
        assert not torch.equal(second, third), "two draws of one generator are equal"
        assert torch.equal(state, torch.get_rng_state()), "a given generator changed the global random state"


def test_parameters_are_tracked_moved_and_loaded(tmp_path):
    flow = mlp(dtype=torch.float32)
    assert len(list(flow.parameters())) == 3 * 3 + 2
    assert flow.double().sample((1,)).dtype == torch.float64
    torch.save(flow.state_dict(), tmp_path / "flow.pt")
    other = mlp()
    other.load_state_dict(torch.load(tmp_path / "flow.pt", weights_only=True))
    y = torch.randn(3, 2, dtype=torch.float64)
    assert torch.equal(flow.log_prob(y), other.log_prob(y))


def test_bases_move_with_the_flow():
    flow = Flow(Independent(Normal(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 3.0])), 1), Tanh())
    assert {name for name in flow.state_dict() if name.startswith("base.")} == {
        "base.base_dist_loc",
        "base.base_dist_scale",
    }
    assert flow.double().base.distribution().mean.dtype == torch.float64


def test_log_prob_compiles_as_one_graph():
    flow = mlp(dtype=torch.float32)
    y = torch.randn(8, 2)
    torch._dynamo.reset()
    compiled = torch.compile(flow.log_prob, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(y), flow.log_prob(y))


def test_points_can_be_integers():
    flow = Flow(StandardNormal(2), Planar(2, torch.tensor([1.0, 0.5]), torch.tensor([0.5, 1.0]), 0.1) | Exp())
    whole = torch.tensor([[1, 2], [0, 3]])
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            assert torch.equal(flow.log_prob(whole), flow.log_prob(whole.float()))


def test_pre_image_and_density_in_one_pass():
    flow = Flow(StandardNormal(2), AffineScalar(scale=2.0) | Tanh())
    y = torch.tensor([[0.5, -0.25], [0.5, 1.25], [torch.nan, 0.0]])
    x, log_prob = flow.inverse_and_log_prob(y)
    assert torch.equal(log_prob, flow.log_prob(y))
    assert torch.equal(x[0], flow.bijector.inverse(y[0]))
    assert x[1:].isnan().all()


def test_summary_and_html():
    flow = mlp()
    summary = flow.summary()
    assert list(summary["name"]) == ["StandardNormal", *["LowRankAffine", "SmoothPReLU"] * 2, "LowRankAffine"]
    assert summary["trainable"].sum() == sum(p.numel() for p in flow.parameters())
    assert "SmoothPReLU" in flow._repr_html_()


def test_summary_names_wrapped_objects_and_omits_empty_tensors():
    summary = Flow(Exponential(torch.tensor(2.0)), Exp().inv).summary()
    assert list(summary["name"]) == ["Exponential", "inverse of Exp"]
    assert list(summary["shapes"]) == ["rate ()", ""]
    assert list(summary["constant"]) == [1, 0]
