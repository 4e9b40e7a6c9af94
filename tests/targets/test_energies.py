"""The energies U1 to U4, twonorm and ringnorm: constants of the literature, samples against densities, supports."""

import math

import pytest
import scipy.integrate
import scipy.stats
import torch

from flowlab import compose
from flowlab.seeding import generator
from flowlab.targets import U1, U2, U3, U4, RingNorm, TwoNorm
from flowlab.targets.densities._quadrature import gauss_legendre, product, trapezoid

# log Z, by quadrature or closed form, and the entropy in nats; known to all digits that are written.
CONSTANTS = {
    U1: (1.8775016261, 2.6600125359),
    U2: (2.0820893430, 2.5820893430),
    U3: (2.6417051309, 2.6267065712),
    U4: (2.7106980024, 2.8100730105),
}
ENERGIES = list(CONSTANTS)


@pytest.mark.parametrize("kind", ENERGIES)
def test_log_normalizer_and_entropy_are_the_known_ones(kind):
    log_normalizer, entropy = CONSTANTS[kind]
    assert kind().log_normalizer == pytest.approx(log_normalizer, abs=1e-9)
    assert kind().entropy == pytest.approx(entropy, abs=1e-9)


@pytest.mark.parametrize("kind", ENERGIES)
def test_log_normalizer_is_the_integral_of_the_energy(kind):
    """On a grid of its own, which shares no node with the one that computes the constants."""
    target = kind()
    end = 5.0 if kind is U1 else 4.0
    parts = [gauss_legendre(-end + part * end / 8, -end + (part + 1) * end / 8, 31) for part in range(16)]
    first = tuple(torch.cat(each) for each in zip(*parts, strict=True))
    points, weights = product(first, trapezoid(-9.0, 9.0, 777))
    integral = float((weights * target.unnormalized_log_prob(points).exp()).sum())
    assert math.log(integral) == pytest.approx(target.log_normalizer, abs=1e-8)
    torch.testing.assert_close(target.log_prob(points), -target.energy(points) - target.log_normalizer)


@pytest.mark.parametrize("kind", ENERGIES)
def test_energies_are_those_of_the_paper(kind):
    """Written once more, by the formulas of table 1."""
    z = 3 * torch.randn(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z = z[z[:, 0].abs() < 4]
    z1, z2 = z.unbind(-1)
    w1 = (2 * math.pi * z1 / 4).sin()
    w2 = 3 * (-0.5 * ((z1 - 1) / 0.6) ** 2).exp()
    w3 = 3 / (1 + (-(z1 - 1) / 0.3).exp())
    ends = (-0.5 * ((z1 - 2) / 0.6) ** 2).exp() + (-0.5 * ((z1 + 2) / 0.6) ** 2).exp()
    known = {
        U1: 0.5 * (((z1**2 + z2**2) ** 0.5 - 2) / 0.4) ** 2 - ends.log(),
        U2: 0.5 * ((z2 - w1) / 0.4) ** 2,
        U3: -((-0.5 * ((z2 - w1) / 0.35) ** 2).exp() + (-0.5 * ((z2 - w1 + w2) / 0.35) ** 2).exp()).log(),
        U4: -((-0.5 * ((z2 - w1) / 0.4) ** 2).exp() + (-0.5 * ((z2 - w1 + w3) / 0.35) ** 2).exp()).log(),
    }[kind]
    near = known < 300  # farther away the plain formula underflows
    torch.testing.assert_close(kind().energy(z)[near], known[near])


def _cdf(target, axis, at):
    """The distribution function of a coordinate at some numbers, by quadrature of the density."""
    rule = trapezoid(-9.0, 9.0, 900)
    values = []
    for low, high in zip([-6.0, *at[:-1]], at, strict=True):
        points, weights = product(gauss_legendre(low, high, 24), rule)
        points = points if axis == 0 else points.flip(-1)
        values.append(float((weights * target.log_prob(points).exp()).sum()))
    return torch.tensor(values).cumsum(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ENERGIES)
def test_marginals_of_samples_follow_the_density(kind, dtype):
    """The Kolmogorov-Smirnov distance at fine places: 1.95 / sqrt(n) has a p-value of 0.001."""
    target, count = kind(), 40_000
    points = target.sample(count, generator(0, "test"), dtype).double()
    # Along z2 the density of U2 to U4 jumps at |z1| = 4, where a grid in z1 is poor: z1 alone, and z2 of U1.
    for axis in (0, 1) if kind is U1 else (0,):
        places = torch.linspace(-4.0, 4.0, 65, dtype=torch.float64)[1:]
        empirical = (points[:, axis, None] <= places).double().mean(0)
        distance = (empirical - _cdf(target, axis, places.tolist())).abs().max()
        assert float(distance) < 1.95 / math.sqrt(count)


@pytest.mark.parametrize("kind", [U2, U3, U4])
def test_second_coordinate_given_the_first_is_the_mixture(kind):
    """Every point's distribution function of z2 given z1 is uniform, which no wrong gap or weight leaves so."""
    target = kind()
    points = target.sample(20_000, generator(1, "test"), torch.float64)
    first, second = points.unbind(-1)
    centre, scales = (math.pi / 2 * first).sin(), target.scales
    means = [centre, centre + target.gap(first)] if len(scales) > 1 else [centre]
    uniform = sum(
        scale * torch.special.ndtr((second - mean) / scale) for mean, scale in zip(means, scales, strict=True)
    ) / sum(scales)
    assert scipy.stats.kstest(uniform.numpy(), "uniform").pvalue > 0.001


@pytest.mark.parametrize("kind", [U2, U3, U4])
def test_density_is_zero_outside_the_support_and_samples_lie_inside_in_single_precision(kind):
    target = kind()
    assert target.log_prob(torch.tensor([[4.001, 0.0], [-4.001, 0.0]])).tolist() == [-math.inf, -math.inf]
    extreme = torch.tensor([[0.0, 0.3, 0.1], [1.0, 0.3, 0.1]], dtype=torch.float64)
    points = target.from_draws(extreme).float()
    assert target.support.check(points).all()
    assert target.log_prob(points).isfinite().all()
    point = torch.tensor([5.0, 0.0], requires_grad=True)  # a NaN would spoil the gradient of a whole batch
    target.log_prob(point).backward()
    assert point.grad.isfinite().all()


@pytest.mark.parametrize("count", [1, 7, 1000])
def test_rejection_gives_the_number_of_points_that_was_asked_for(count):
    points = U1().sample(count, generator(0, "count"))
    assert points.shape == (count, 2)
    assert torch.equal(points, U1().sample(count, generator(0, "count")))


def test_twonorm_and_ringnorm_have_the_known_entropies():
    assert TwoNorm(dim=20).entropy == pytest.approx(29.0114909, abs=1e-7)
    assert RingNorm(dim=20).entropy == pytest.approx(35.964, abs=5e-3)


@pytest.mark.parametrize("dim", [2, 3])
def test_entropy_of_ringnorm_is_that_of_a_plain_quadrature(dim):
    """In two dimensions on a grid, in three by nested adaptive integration over the radius and the projection."""
    target = RingNorm(dim=dim)
    if dim == 2:
        points, weights = product(trapezoid(-18.0, 18.0, 800), trapezoid(-18.0, 18.0, 800))
        log_prob = target.log_prob(points)
        known = -float((weights * log_prob.exp() * log_prob).sum())
    else:
        axis = torch.full((dim,), 1 / math.sqrt(dim), dtype=torch.float64)
        across = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64) / math.sqrt(2)

        def integrand(radius, along):
            log_prob = float(target.log_prob(along * axis + radius * across))
            return -math.exp(log_prob) * log_prob * 2 * math.pi * radius

        known, _ = scipy.integrate.dblquad(integrand, -16, 18, 0, 17, epsabs=1e-6)
    assert target.entropy == pytest.approx(known, abs=1e-5)


@pytest.mark.parametrize("kind", [TwoNorm, RingNorm])
def test_norms_in_20_dimensions_have_the_moments_and_the_entropy_of_their_parts(kind):
    target = kind(dim=20)
    points = target.sample(100_000, generator(0, "norms"), torch.float64)
    each = 2 / math.sqrt(20)
    mean = sum(share * each for share, _ in target.parts) / 2
    second = sum(share**2 * each**2 + scale**2 for share, scale in target.parts) / 2
    spread = 5 * math.sqrt(second / len(points))
    torch.testing.assert_close(points.mean(0), torch.full((20,), mean, dtype=torch.float64), rtol=0, atol=spread)
    torch.testing.assert_close(points.square().mean(0), torch.full((20,), second).double(), rtol=0.03, atol=0)
    log_prob = target.log_prob(points)
    error = float(log_prob.std()) / math.sqrt(len(points))
    assert -float(log_prob.mean()) == pytest.approx(target.entropy, abs=4 * error)


@pytest.mark.parametrize("name", ["twonorm", "ringnorm"])
def test_dimension_is_a_setting(name):
    assert compose(f"target={name}", "target.dim=3").target.build().event_shape == (3,)
