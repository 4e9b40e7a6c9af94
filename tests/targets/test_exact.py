"""Every target with an exact density: samples, density, entropy and bounds agree with one another."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from flowlab import ConfigError, train
from flowlab.config import registry
from flowlab.config.compose import compose
from flowlab.config.registry import lookup, names, register
from flowlab.seeding import generator
from flowlab.targets import (
    U1,
    U2,
    U3,
    U4,
    Banana,
    Checkerboard,
    EightGaussians,
    ExactTarget,
    Funnel,
    Gaussian,
    RingNorm,
    TwoMoons,
    TwoNorm,
    Uniform,
)
from flowlab.targets.densities._quadrature import grid

TARGETS = {
    "banana": Banana(),
    "banana bent the other way": Banana(curvature=-0.5, scale=1.0, noise=0.3),
    "gaussian": Gaussian(),
    "gaussian_full": Gaussian([0.4, 1.0], [[2.0, 0.3], [-1.0, 4.0]]),
    "uniform": Uniform([-1.0, 2.0], [3.0, 2.5]),
    "eight_gaussians": EightGaussians(),
    "checkerboard": Checkerboard(),
    "two_moons": TwoMoons(),
    "funnel": Funnel(),
    "u1": U1(),
    "u2": U2(),
    "u3": U3(),
    "u4": U4(),
    "twonorm": TwoNorm(dim=2),
    "ringnorm": RingNorm(dim=2),
}


@pytest.fixture(params=TARGETS, ids=str)
def target(request):
    return TARGETS[request.param]


def sample(target, count=100_000):
    return target.sample(count, generator(0, "test"), torch.float64)


def test_entropy_is_the_average_of_the_log_density(target):
    log_prob = target.log_prob(sample(target))
    error = float(log_prob.std()) / math.sqrt(len(log_prob))
    assert -float(log_prob.mean()) == pytest.approx(target.entropy, abs=max(4 * error, 1e-9))


def test_density_integrates_to_one(target):
    points = sample(target)
    spread = 0.3 * (points.max(0).values - points.min(0).values)
    bounds = [
        (float(low), float(high))
        for low, high in zip(points.min(0).values - spread, points.max(0).values + spread, strict=True)
    ]
    if isinstance(target, Funnel):  # its neck is thinner than any grid: integrate in its own coordinates
        points, cells = grid(((-15.0, 15.0), (-8.0, 8.0)), 800)
        stretched = torch.stack([points[:, 0], (points[:, 0] / 2).exp() * points[:, 1]], dim=-1)
        density = (target.log_prob(stretched) + points[:, 0] / 2).exp()
    else:
        points, cells = grid(bounds, 1600 if not isinstance(target, TwoMoons) else 500)
        density = target.log_prob(points).exp()
    smooth = not isinstance(target, Uniform | Checkerboard)
    assert float((density * cells).sum()) == pytest.approx(1.0, abs=1e-3 if smooth else 0.02)


def test_samples_follow_the_density(target):
    """The total variation between samples and density, over 36 boxes, is small."""
    points = sample(target)
    edges = [torch.quantile(points[:, axis], torch.linspace(0, 1, 7, dtype=torch.float64)) for axis in (0, 1)]
    inner = [edge[1:-1].contiguous() for edge in edges]
    other = target.sample(100_000, generator(1, "test"), torch.float64)
    box = torch.bucketize(other[:, 0].contiguous(), inner[0]) * 6 + torch.bucketize(other[:, 1].contiguous(), inner[1])
    # Importance weights from a broad proposal give the mass of each box under the density.
    broad = torch.distributions.StudentT(2.0, points.median(0).values, points.std(0))
    if isinstance(target, Funnel):
        proposal = target.sample(400_000, generator(2, "test"), torch.float64) * 1.1
        weight = (target.log_prob(proposal) - target.log_prob(proposal / 1.1) + 2 * math.log(1.1)).exp()
    else:
        torch.manual_seed(3)
        proposal = broad.sample((400_000,))
        weight = (target.log_prob(proposal) - broad.log_prob(proposal).sum(-1)).exp()
    where = torch.bucketize(proposal[:, 0].contiguous(), inner[0]) * 6 + torch.bucketize(
        proposal[:, 1].contiguous(), inner[1]
    )
    mass = torch.zeros(36, dtype=torch.float64).index_add(0, where, weight) / len(proposal)
    counts = torch.bincount(box, minlength=36).double() / len(other)
    assert float((mass - counts).abs().sum()) / 2 < 0.02  # total variation


def test_dtype_shape_and_seed(target):
    for dtype in (torch.float32, torch.float64):
        points = target.sample(7, generator(0, "x"), dtype)
        assert points.shape == (7, target.dim)
        assert points.dtype == target.log_prob(points).dtype == dtype
        assert torch.equal(points, target.sample(7, generator(0, "x"), dtype))
    assert target.log_prob(points.reshape(7, 1, 2)).shape == (7, 1)


def test_bounds_contain_nearly_all_the_mass(target):
    points = sample(target, 20_000)
    inside = torch.ones(len(points), dtype=torch.bool)
    for axis, (low, high) in enumerate(target.bounds):
        inside &= (points[:, axis] > low) & (points[:, axis] < high)
    assert inside.double().mean() > 0.93


def test_splits_share_no_point(target):
    train, test = (target.rows(split, 50, seed=0, dtype=torch.float64) for split in ("train", "test"))
    assert not (train[:, None] == test[None]).all(-1).any()


def test_targets_have_published_moments_and_entropy():
    assert Banana().entropy == pytest.approx(4.2241714, abs=1e-7)
    assert Gaussian().entropy == pytest.approx(4.2241714, abs=1e-7)
    assert Banana().bounds == ((-5.0, 30.0), (-10.0, 10.0))
    points = Banana().sample(1_000_000, generator(0, "moments"), torch.float64)
    for column, mean, variance in ((0, 4.0, 33.0), (1, 0.0, 16.0)):
        x = points[:, column]
        assert float(x.mean()) == pytest.approx(mean, abs=4 * math.sqrt(variance / len(x)))
        error = float((x - x.mean()).square().std()) / math.sqrt(len(x))
        assert float(x.var()) == pytest.approx(variance, abs=4 * error)


def test_gaussian_against_scipy():
    target = TARGETS["gaussian_full"]
    factor = np.array(target.factor)
    known = scipy.stats.multivariate_normal(np.array(target.mean), factor.T @ factor)
    x = sample(target, 10)
    torch.testing.assert_close(target.log_prob(x), torch.tensor(known.logpdf(x.numpy())))
    assert target.entropy == pytest.approx(known.entropy())


def test_two_moons_quadrature_is_exact_to_rounding():
    coarse, fine = TwoMoons(), TwoMoons()
    fine.nodes = 256
    assert len(fine._arcs[0]) == 512
    x = sample(coarse, 1000)
    torch.testing.assert_close(coarse.log_prob(x), fine.log_prob(x), rtol=0, atol=1e-10)


def test_checkerboard_never_leaves_its_squares():
    for seed in (188, 202):  # with these seeds float32 once reached the next square
        target = Checkerboard()
        assert target.log_prob(target.rows("test", 100_000, seed)).isfinite().all()
    for seed in (16, 88):  # here a float64 point did so when converted to float32
        points = Checkerboard().rows("test", 100_000, seed, torch.float64)
        assert Checkerboard().log_prob(points.float()).isfinite().all()
    at_the_edge = Checkerboard().from_draws(torch.tensor([1 - 1e-12, 1 - 1e-12, 0.01], dtype=torch.float64))
    assert Checkerboard().log_prob(at_the_edge.float()).isfinite()
    assert Checkerboard().log_prob(torch.tensor([1.9999998807907104, 1.618])).isfinite()


def test_eight_gaussians_that_the_grid_would_miss_are_refused():
    assert EightGaussians(scale=0.01).entropy == pytest.approx(math.log(8) + math.log(2 * math.pi * math.e * 1e-4))
    with pytest.raises(ValueError, match="scale=0.005: must be at least radius / 400"):
        EightGaussians(scale=0.005)


def test_finite_training_sets_are_drawn_once():
    target = Gaussian(train_size=10)
    assert torch.equal(target.rows("train", 999, seed=1), target.rows("train", 5, seed=1))
    assert len(target.rows("train", 999, seed=1)) == 10
    assert not torch.equal(target.rows("train", 0, seed=1), target.rows("train", 0, seed=2))


@pytest.mark.parametrize("name", [name for name in names("target") if issubclass(lookup("target", name), ExactTarget)])
def test_every_target_is_tested_and_has_an_option(name):
    """TARGETS has each registered target, so every test in this file runs on it."""
    kind = lookup("target", name)
    assert isinstance(compose(f"target={name}").target.build(), kind)
    assert any(type(target) is kind for target in TARGETS.values())


def test_a_built_target_is_a_copy():
    """Training moves a target's constants to a device; the configuration keeps its own."""
    settings = compose("target=gaussian").target
    target = settings.build()
    assert target == settings
    target.rows("test", 2, 0)
    target.to_("meta")
    assert target._constants[0].is_meta
    assert not settings._constants[0].is_meta


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gaussian([0.0, 0.0], [[1.0, 1.0], [1.0, 1.0]]), "factor=.*: is singular"),
        (
            lambda: Gaussian([0.0], [[1.0, 1.0], [1.0, 1.0]]),
            "factor=.*: must be d x d for a mean of d numbers; mean has 1",
        ),
        (lambda: Uniform([0.0, 1.0], [1.0, 1.0]), "low=\\[0.0, 1.0\\]: must be below high"),
        (lambda: TwoMoons(noise=0.01), "noise=0.01: must be at least 0.05"),
    ],
)
def test_bad_argument_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_batch_of_a_subclass_that_only_defines_rows_uses_its_rows():
    class Shifted(Banana):
        def rows(self, split, count, seed, dtype=None):
            return super().rows(split, count, seed, dtype) + 100

    assert torch.equal(Shifted().batch("test", 5, 0).x, Banana().rows("test", 5, 0) + 100)


class Unsampled(ExactTarget):
    dim = 2
    bounds = ((-3.0, 3.0), (-3.0, 3.0))

    def log_prob(self, x):
        return -0.5 * (x**2).sum(-1) - math.log(2 * math.pi)


class Sampled(Unsampled):
    def from_draws(self, drawn):
        return drawn


@pytest.fixture
def own_target(monkeypatch):
    """A function that registers a class as the target `own` for one test."""
    monkeypatch.setitem(registry._registered["target"], "own", None)
    return register("target", "own")


def test_target_that_cannot_be_sampled_is_refused_by_an_objective_of_points(own_target, tmp_path):
    own_target(Unsampled)
    with pytest.raises(ConfigError, match=r"objective=maximum_likelihood: needs points .* define from_draws\(drawn\)"):
        train(compose("target=own"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_target_that_cannot_be_sampled_is_tested_by_its_elbo(own_target, tmp_path):
    own_target(Unsampled)
    small = ("max_steps=2", "test_size=200", "validation_size=200", "trainer.progress=off", "flow.depth=1")
    run = train(compose("target=own", "objective=reverse_kl", *small), tmp_path / "run")
    assert run.result["elbo"] < 0, "log Z is 0"
    assert "nll" not in run.result


def test_reverse_kl_is_reported(own_target, tmp_path):
    own_target(Sampled)
    small = ("max_steps=2", "test_size=200", "validation_size=200", "trainer.progress=off")
    result = train(compose("target=own", "objective=reverse_kl", *small), tmp_path / "reverse").result
    assert result["reverse_kl"] > 0
    assert result["reverse_kl_se"] > 0
    assert "entropy" not in result, "the target does not define it"
    assert "reverse_kl" not in train(compose("target=own", *small), tmp_path / "forward").result
