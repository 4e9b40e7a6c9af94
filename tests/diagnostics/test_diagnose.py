"""`flowlab.diagnose` is right where the truth is known, and warns where a flow looks better than it is."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal, StudentT

import flowlab
from flowlab import ConfigError, Flow
from flowlab.bijectors import AffineScalar, Exp
from flowlab.diagnostics import diagnose as module
from flowlab.seeding import generator
from flowlab.targets import U1, U2, U3, U4, Banana, EightGaussians, Funnel, Gaussian, RingNorm, TwoNorm, Uniform

DRAWS, LOG_Z = 20_000, 3.5


def proposal(mean, scale, base=Normal):
    """A flow with independent coordinates in float64; base: a class of two parameters."""
    mean, scale = (torch.tensor(each, dtype=torch.float64) for each in (mean, scale))
    return Flow(Independent(base(mean, scale), 1), AffineScalar()).double()


def heavy(mean, scale):
    return StudentT(5.0, mean, scale)


def twonorm():
    """A Gaussian with the covariance of twonorm, I + a a^T."""
    mean = torch.full((20,), 2 / math.sqrt(20), dtype=torch.float64)
    covariance = torch.eye(20, dtype=torch.float64) + mean[:, None] * mean
    return Flow(MultivariateNormal(torch.zeros_like(mean), covariance), AffineScalar()).double()


def ringnorm():
    """A mixture that is near to ringnorm."""
    mean, one = torch.full((20,), 2 / math.sqrt(20), dtype=torch.float64), torch.eye(20, dtype=torch.float64)
    parts = MultivariateNormal(torch.stack([0 * mean, 0.9 * mean]), torch.stack([4.2 * one, 1.1 * one]))
    return Flow(MixtureSameFamily(Categorical(torch.ones(2, dtype=torch.float64)), parts), AffineScalar()).double()


KNOWN = {
    "banana": (Banana(), proposal([4.0, 0.0], [9.0, 5.0], heavy)),
    "eight_gaussians": (EightGaussians(), proposal([0.0, 0.0], [3.5, 3.5])),
    "funnel": (Funnel(2), proposal([0.0, 0.0], [3.0, 8.0], heavy)),
    "gaussian": (Gaussian(), proposal([0.8, 1.0], [2.1, 2.2])),
    "twonorm": (TwoNorm(), twonorm()),
    "ringnorm": (RingNorm(), ringnorm()),
    "u1": (U1(), proposal([0.0, 0.0], [1.8, 1.8])),
    "u2": (U2(), proposal([0.0, 0.0], [2.2, 1.6])),
    "u3": (U3(), proposal([0.0, 0.0], [2.2, 1.6])),
    "u4": (U4(), proposal([0.0, 0.0], [2.2, 1.6])),
}


@pytest.mark.parametrize("name", KNOWN)
def test_log_z_is_within_three_errors_and_inside_its_bounds(name):
    target, flow = KNOWN[name]
    samples = target.sample(DRAWS, generator(1, "samples"), torch.float64)
    found = flowlab.diagnose(flow, lambda x: target.unnormalized_log_prob(x) + LOG_Z, samples, draws=DRAWS)
    log_z = LOG_Z + target.log_normalizer
    assert abs(found.log_z.value - log_z) < 3 * found.log_z.error < 0.2
    assert found.elbo.value <= log_z <= found.eubo.value
    assert found.elbo.value <= found.log_z.value <= found.eubo.value
    assert found.gap > 0
    assert (found.draws, found.samples) == (DRAWS, DRAWS)


def test_the_bracket_has_the_width_of_both_divergences():
    """KL of Gaussians: N((0.8, 1), (2.1, 2.2)^2) and N((1, 1), 2^2), closed form both ways."""
    first, second = (
        Normal(torch.tensor(mean), torch.tensor(scale))
        for mean, scale in (([0.8, 1.0], [2.1, 2.2]), ([1.0, 1.0], [2.0, 2.0]))
    )
    reverse, forward = (
        torch.distributions.kl_divergence(*pair).sum().item() for pair in ((first, second), (second, first))
    )
    target, flow = KNOWN["gaussian"]
    found = flowlab.diagnose(flow, target, draws=DRAWS)
    assert found.elbo.value == pytest.approx(-reverse, abs=4 * found.elbo.error)
    assert found.eubo.value == pytest.approx(forward, abs=4 * found.eubo.error)


def test_light_tails_that_look_fine_at_1000_draws_are_warned_of():
    """The weights of N(0, 1.2) against a Student t of 3 degrees of freedom have no variance: the true ESS is 0."""
    light, right, shares = proposal([0.0], [1.2]), proposal([0.0], [1.0], heavy), []
    for seed in range(10):
        found = flowlab.diagnose(light, student(3.0), draws=1000, seed=seed)
        assert any("Pareto k" in each and "do not trust" in each for each in found.warnings)
        shares.append(found.ess)
        assert not flowlab.diagnose(right, student(5.0), draws=1000, seed=seed).warnings
    assert np.median(shares) > 0.75, "most of them look fine"


def student(freedom):
    return lambda x: StudentT(freedom).log_prob(x).sum(-1)


def test_too_few_draws_for_a_moderate_k_are_warned_of():
    """N(0, 0.58^2) against N(0, 1) has k = 1 - 0.58^2 = 0.66: 1000 draws just suffice, and 200 do not."""
    flow = proposal([0.0], [0.58])
    shapes = [flowlab.diagnose(flow, standard_normal, draws=200, seed=seed) for seed in range(20)]
    warned = [any("do not trust" in each for each in found.warnings) for found in shapes]
    assert np.mean(warned) >= 0.5
    assert any("use draws=" in " ".join(found.warnings) for found in shapes)
    assert "too few" in flowlab.diagnose(flow, standard_normal, draws=20).warnings[0]


def standard_normal(x):
    return -0.5 * (x.square() + math.log(2 * math.pi)).sum(-1)


@pytest.mark.parametrize("kind", ["light", "heavy"])
def test_wrong_tails_are_warned_of_where_the_nll_moves_by_less_than_a_twentieth(kind):
    """Light: a Gaussian with the moments of a Student t. Heavy: 3 % of the flow's mass five times as wide."""
    if kind == "light":
        flow, density = proposal([0.0, 0.0], [1.2**0.5] * 2), student(torch.tensor(12.0, dtype=torch.float64))
        samples = torch.from_numpy(np.random.default_rng(0).standard_t(12, size=(DRAWS, 2)))
    else:
        scales = torch.tensor([[1.0, 1.0], [5.0, 5.0]], dtype=torch.float64)
        parts = Independent(Normal(torch.zeros_like(scales), scales), 1)
        shares = Categorical(torch.tensor([0.97, 0.03], dtype=torch.float64))
        flow, density = Flow(MixtureSameFamily(shares, parts), AffineScalar()).double(), standard_normal
        samples = torch.from_numpy(np.random.default_rng(0).normal(size=(DRAWS, 2)))
    found = flowlab.diagnose(flow, density, samples, draws=DRAWS)
    assert abs(found.eubo.value) + 3 * found.eubo.error < 0.05, "NLL of the flow above the entropy of the target"
    assert any(f"the tails are too {kind}" in each for each in found.warnings)


def test_a_perfect_flow_has_no_warnings_in_float32():
    found = flowlab.diagnose(
        Flow(flowlab.StandardNormal(3), AffineScalar()),
        standard_normal,
        torch.randn(5000, 3, generator=generator(0, "samples")),
    )
    assert found.warnings == ()
    assert found.ess == pytest.approx(1, abs=1e-6)
    assert "no warnings" in repr(found)


def test_a_missed_mode_is_seen_by_samples_and_by_centres():
    """The flow covers one of two modes. Its own draws see nothing: log Z is too small by log 2, without a warning."""
    modes = torch.tensor([[-6.0], [6.0]], dtype=torch.float64)
    density = lambda x: torch.logaddexp(standard_normal(x - modes[0]), standard_normal(x - modes[1])) - math.log(2)  # noqa: E731
    flow = proposal([-6.0], [1.0])
    blind = flowlab.diagnose(flow, density)
    assert blind.log_z.value == pytest.approx(-math.log(2), abs=1e-3)
    assert blind.warnings == ()
    samples = torch.cat(
        [mode + torch.randn(2500, 1, generator=generator(0, str(mode)), dtype=torch.float64) for mode in modes]
    )
    found = flowlab.diagnose(flow, density, samples, centres=modes)
    assert found.modes.missing == (2,)
    assert found.modes.target == (0.5, 0.5)
    assert found.eubo.value > 10
    text = " ".join(found.warnings)
    assert "mode 2" in text
    assert "forward effective sample size" in text


def test_a_target_names_its_own_modes():
    found = flowlab.diagnose(KNOWN["eight_gaussians"][1], EightGaussians(), draws=2000)
    assert found.modes.covered == 1
    assert sum(found.modes.flow) == pytest.approx(1)


def test_points_outside_a_support_are_named():
    half = Flow(Independent(Normal(torch.zeros(1), torch.ones(1)), 1), Exp())
    samples = torch.randn(1000, 1, generator=generator(0, "samples"))
    found = flowlab.diagnose(half, standard_normal, samples)
    assert found.eubo.value == math.inf
    assert found.forward_ess == 0
    assert "the samples lie where the flow has density 0" in " ".join(found.warnings)
    found = flowlab.diagnose(proposal([0.5, 0.5], [0.3, 0.3]), Uniform())
    assert found.elbo.value == -math.inf
    assert abs(found.log_z.value) < 4 * found.log_z.error
    assert "the draws lie where the target has density 0" in " ".join(found.warnings)


def test_samples_of_something_else_are_noticed():
    """Samples where the density is far below its average cannot come from it: EUBO below ELBO."""
    flow = proposal([0.0], [1.0])
    found = flowlab.diagnose(flow, lambda x: -x.square().sum(-1), torch.full((1000, 1), 3.0) + torch.rand(1000, 1))
    assert "belong to different targets" in " ".join(found.warnings)


def test_memory_is_bounded_by_chunks_and_results_do_not_depend_on_them(monkeypatch):
    sizes = []

    def density(x):
        sizes.append(len(x))
        return standard_normal(x)

    samples = torch.randn(3000, 4, generator=generator(0, "samples"), dtype=torch.float64)
    flow = proposal([0.0] * 4, [1.1] * 4)
    whole = flowlab.diagnose(flow, density, samples, draws=3000)
    monkeypatch.setattr(module, "CHUNK_NUMBERS", 4000)
    sizes.clear()
    parts = flowlab.diagnose(flow, density, samples, draws=3000)
    assert max(sizes) == 1000
    assert parts.eubo == pytest.approx(whole.eubo)
    assert parts.log_z.value == pytest.approx(whole.log_z.value, abs=5 * whole.log_z.error)


def test_equal_seeds_give_equal_results_and_torch_is_left_alone():
    target, flow = KNOWN["banana"]
    state = torch.random.get_rng_state()
    first, second, other = (flowlab.diagnose(flow, target, draws=500, seed=seed) for seed in (1, 1, 2))
    assert first == second != other
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_conditional_flow_is_diagnosed_at_a_context():
    flow = flowlab.compose("flow=maf", "flow.depth=1").flow.build((2,), (3,), generator(0, "initialization"))
    context = torch.tensor([0.5, -1.0, 2.0])
    found = flowlab.diagnose(flow, lambda x: flow.log_prob(x, context), context=context, draws=500)
    assert found.ess == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("target", "how", "message"),
    [
        (standard_normal, {"draws": 1}, "draws=1: must be"),
        (lambda x: x, {}, r"log_density: gives \(10000, 1\).*sum\(-1\)"),
        (lambda x: 1.0, {}, "log_density: gives float"),
        (lambda x: x @ torch.eye(7), {}, "log_density: fails for points of shape"),
        (lambda x: x.sum(-1) * math.nan, {}, "log_density: is NaN"),
        (lambda x: x.sum(-1) * 0 - math.inf, {}, "log_density: is -inf at every draw"),
        ("banana", {}, "target=str has no density"),
        (standard_normal, {"samples": torch.zeros(3, 2)}, r"samples: have shape \(3, 2\)"),
        (standard_normal, {"centres": [0.0, 1.0]}, r"centres: have shape \(2,\)"),
    ],
)
def test_mistakes_are_named(target, how, message):
    with pytest.raises(ConfigError, match=message):
        flowlab.diagnose(proposal([0.0], [1.0]), target, **how)
