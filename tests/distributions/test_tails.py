"""Probabilities and quantiles of scalar flows against 50-digit arithmetic, to the smallest normal probability."""

import mpmath
import pytest
import torch
from torch import nn
from torch.distributions import (
    Categorical,
    Cauchy,
    Exponential,
    Gamma,
    Gumbel,
    HalfCauchy,
    HalfNormal,
    Independent,
    Laplace,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    StudentT,
    Uniform,
)

from flowlab import Flow, StandardNormal, distributions
from flowlab.bijectors import (
    AffineScalar,
    Chain,
    DiscreteCosineTransform,
    Exp,
    ExponentialCDF,
    Inline,
    LowRankAffine,
    NormalCDF,
    Planar,
    Radial,
    Sigmoid,
)

mpmath.mp.dps = 50
ULPS = {torch.float32: 2, torch.float64: 200}  # in float64 a rounded log is 700 times worse in its exponential


def gumbel(y):
    return mpmath.exp(-mpmath.exp(-y)), -mpmath.expm1(-mpmath.exp(-y))


def normal(z):
    return mpmath.ncdf(z), mpmath.ncdf(-z)


# name -> (flow, both probabilities, points far out on both sides for float32)
CASES = {
    "LogNormal": (lambda: distributions.LogNormal(), lambda y: normal(mpmath.log(y)), (-12.9, 12.9), mpmath.exp),
    "normal": (lambda: Flow(Normal(0.0, 1.0), AffineScalar(1.0, 2.0)), lambda y: normal((y - 1) / 2), (-24.0, 26.0)),
    "decreasing": (lambda: Flow(Normal(0.0, 1.0), AffineScalar(1.0, -2.0)), lambda y: normal((y - 1) / 2), (-24, 26)),
    "vector": (lambda: Flow(StandardNormal(1), AffineScalar(1.0, 2.0)), lambda y: normal((y - 1) / 2), (-24.0, 26.0)),
    "Gumbel": (lambda: distributions.Gumbel(), gumbel, (-4.3, 87.0)),
    "torch's Gumbel": (lambda: Flow(Gumbel(0.0, 1.0), Chain([])), gumbel, (-4.3, 87.0)),
    "negated Gumbel": (lambda: Flow(Exponential(1.0), Exp().inv), lambda y: gumbel(-y)[::-1], (-87.0, 4.3)),
    "logistic": (
        lambda: Flow(Uniform(0.0, 1.0), Sigmoid().inv),
        lambda y: (1 / (1 + mpmath.exp(-y)), 1 / (1 + mpmath.exp(y))),
        (-86.0, 86.0),
    ),
    "normal from uniform": (lambda: Flow(Uniform(0.0, 1.0), NormalCDF().inv), normal, (-12.9, 12.9)),
    "exponential": (
        lambda: Flow(Uniform(0.0, 1.0), ExponentialCDF(0.5).inv | AffineScalar(scale=-1.0)),
        lambda y: (mpmath.exp(y / 2), -mpmath.expm1(y / 2)),
        (-170.0, -1e-3),
    ),
    "Laplace": (
        lambda: Flow(Laplace(0.0, 1.0), AffineScalar(scale=2.0)),
        lambda y: tuple(
            mpmath.exp(-abs(y) / 2) / 2 if side * y > 0 else 1 - mpmath.exp(-abs(y) / 2) / 2 for side in (-1, 1)
        ),
        (-170.0, 170.0),
    ),
    "mixture": (
        lambda: Flow(MixtureSameFamily(Categorical(torch.ones(2)), Normal(torch.tensor([-1.0, 1.0]), 1.0)), Chain([])),
        lambda y: tuple((a + b) / 2 for a, b in zip(normal(y + 1), normal(y - 1), strict=True)),
        (-11.5, 11.5),
    ),
    "half normal": (
        lambda: Flow(HalfNormal(1.0), AffineScalar(scale=2.0)),
        lambda y: (mpmath.erf(y / 2 / mpmath.sqrt(2)), mpmath.erfc(y / 2 / mpmath.sqrt(2))),
        (1e-30, 24.0),
    ),
    "half Cauchy": (
        lambda: Flow(HalfCauchy(1.0), Chain([])),
        lambda y: (2 / mpmath.pi * mpmath.atan(y), 2 / mpmath.pi * mpmath.atan(1 / y)),
        (1e-30, 1e30),
    ),
    "Cauchy": (
        lambda: Flow(Cauchy(0.0, 1.0), AffineScalar(scale=-2.0)),
        lambda y: tuple(mpmath.atan(-2 / (side * y)) / mpmath.pi + (side * y > 0 and 1) for side in (1, -1)),
        (-1e30, 1e30),
    ),
    "gamma": (
        lambda: Flow(Gamma(2.0, 1.0), Chain([])),
        lambda y: (mpmath.gammainc(2, 0, y, regularized=True), mpmath.gammainc(2, y, regularized=True)),
        (1e-18, 85.0),
    ),
}


def ulps(found, expected):
    error = abs((mpmath.mpf(float(found)) - expected) / expected)
    return float(error) / torch.finfo(found.dtype).eps


@pytest.mark.parametrize("name", CASES)
def test_probabilities_are_right_in_both_tails(name, dtype):
    make, exact, (low, high), *scale = CASES[name]
    distribution = make().to(dtype).distribution()
    for share in (0.0, 0.1, 0.4, 0.7, 0.9, 1.0):
        point = low + share * (high - low)
        y = torch.tensor(float(scale[0](point)) if scale else point, dtype=dtype)
        below, above = exact(mpmath.mpf(float(y)))
        event = y.expand(distribution.event_shape)
        assert ulps(distribution.cdf(event), below) <= ULPS[dtype]
        assert ulps(distribution.survival_function(event), above) <= ULPS[dtype]
        assert ulps(distribution.log_cdf(event), mpmath.log(below)) <= ULPS[dtype]
        assert ulps(distribution.log_survival_function(event), mpmath.log(above)) <= ULPS[dtype]


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("mixture", "gamma")])
@pytest.mark.parametrize("share", ["tiny", 1e-30, 1e-9, 0.25, 0.999])
def test_quantiles_are_right_in_both_tails(name, share, dtype):
    make, exact, *_ = CASES[name]
    distribution = make().double().distribution()
    probability = torch.tensor(torch.finfo(dtype).tiny if share == "tiny" else share, dtype=dtype).double()
    y = distribution.icdf(probability)
    assert y.shape == distribution.event_shape
    below, _ = exact(mpmath.mpf(float(y)))
    assert ulps(probability, below) <= 10 - 2 * probability.log()  # from the rounding of y alone
    if dtype == torch.float32:
        single = make().distribution()
        torch.testing.assert_close(single.icdf(probability.float()), y.float(), rtol=4e-7, atol=0)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(
    "bijector",
    [
        LowRankAffine(1, 1),
        Planar(1),
        Radial(1),
        DiscreteCosineTransform(),
        LowRankAffine(1) | Exp(),
        LowRankAffine(1).inv,
    ],
    ids=str,
)
def test_vectors_of_one_coordinate_have_probabilities(bijector, sign):
    distribution = Flow(StandardNormal(1), AffineScalar(scale=sign) | bijector).distribution()
    u = torch.tensor([1e-20, 0.1, 0.5])
    y = distribution.icdf(u)
    assert y.shape == (3, 1)
    torch.testing.assert_close(distribution.cdf(y), u, rtol=1e-4, atol=0)
    torch.testing.assert_close(distribution.survival_function(y[1:]), 1 - u[1:])


def test_a_map_of_unknown_sign_has_no_probabilities():
    unknown = AffineScalar() | Inline(torch.sinh, torch.asinh)
    for bijector in (unknown, AffineScalar(torch.zeros(2)) | unknown):
        distribution = Flow(Normal(0.0, 1.0), bijector).distribution()
        for method in (distribution.cdf, distribution.icdf, distribution.survival_function, distribution.log_cdf):
            with pytest.raises(NotImplementedError, match="only a monotone elementwise map"):
                method(torch.tensor(0.5))
    with pytest.raises(NotImplementedError, match=r"cdf: torch gives StudentT none; count samples"):
        Flow(StudentT(3.0), Exp()).distribution().cdf(torch.tensor(1.0))
    with pytest.raises(NotImplementedError, match="only a flow of scalars"):
        Flow(StandardNormal(2), Exp()).distribution().cdf(torch.ones(2))


def test_each_coordinate_has_its_own_sign_and_gradients_flow():
    scale = nn.Parameter(torch.tensor([1.0, -2.0]))
    distribution = Flow(Normal(0.0, 1.0), AffineScalar(scale=scale)).distribution()
    found = distribution.cdf(torch.tensor(1.0))
    torch.testing.assert_close(found, Normal(0.0, torch.tensor([1.0, 2.0])).cdf(torch.tensor(1.0)))
    found.sum().backward()
    assert scale.grad.ne(0).all()


def test_variance_of_affine_maps():
    assert Flow(Normal(0.0, 2.0), AffineScalar(1e6, 3.0)).distribution().variance == 36.0
    assert Flow(Normal(0.0, 1.0), AffineScalar(scale=torch.tensor([1.0, -3.0]))).distribution().stddev.tolist() == [
        1,
        3,
    ]
    affine = LowRankAffine(3, 2)
    expected = (affine.dense() @ affine.dense().T).diagonal()
    torch.testing.assert_close(Flow(StandardNormal(3), affine).distribution().variance, expected)
    wide = Flow(Independent(Uniform(torch.zeros(4, 3), 1.0), 1), affine).distribution()
    torch.testing.assert_close(wide.variance, (affine.dense().square().sum(-1) / 12).expand(4, 3))
    gaussian = MultivariateNormal(torch.zeros(3), torch.eye(3))
    assert Flow(gaussian, AffineScalar(scale=2.0)).distribution().variance.tolist() == [4.0] * 3
    with pytest.raises(NotImplementedError, match="MultivariateNormal may have dependent coordinates"):
        _ = Flow(gaussian, affine).distribution().variance
    with pytest.raises(NotImplementedError, match="variance: Exp is not affine"):
        _ = Flow(StandardNormal(3), Exp()).distribution().variance


def test_expand_draws_independent_samples():
    for base in (Normal(torch.zeros(2, 1), 1.0), StudentT(torch.full((2, 1), 5.0))):
        distribution = Flow(base, AffineScalar()).distribution().expand((3, 2, 2))
        assert distribution.batch_shape == (3, 2, 2)
        for samples in (distribution.sample((500,)), distribution.rsample((500,))):
            assert samples.shape == (500, 3, 2, 2)
            assert (samples.flatten(1).T.corrcoef() - torch.eye(12)).abs().max() < 0.3
        assert distribution.log_prob(torch.tensor(1.0)).shape == distribution.mean.shape == (3, 2, 2)
    vectors = Flow(StandardNormal(2), LowRankAffine(2)).distribution().expand((5,))
    assert Independent(vectors, 1).sample((4,)).shape == (4, 5, 2)
    assert vectors.entropy().shape == vectors.log_prob(torch.zeros(2)).shape == (5,)
    with pytest.raises(ValueError, match=r"a batch of shape \(5,\) does not broadcast to \(4,\)"):
        vectors.expand((4,))
