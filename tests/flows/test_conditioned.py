"""Coupling and autoregressive flows, and their presets: they start at the identity, train, stack and resume."""

import pytest
import torch

import flowlab
from flowlab.bijectors import ActNorm, Coupling, MaskedAutoregressive, stages
from flowlab.config.compose import compose
from flowlab.config.errors import ConfigError
from flowlab.config.registry import names
from flowlab.flows._assemble import assemble
from flowlab.seeding import generator
from flowlab.sweeps.train_many import stack_key, train_many
from flowlab.training.build import build

PRESETS = ["coupling", "nice", "realnvp", "glow", "nsf", "autoregressive", "maf", "iaf", "nsf_ar"]
SMALL = ["flow.depth=2", "flow.hidden=[16]", "batch_size=64", "validation_size=200", "test_size=200"]
MAPS = ["additive", "affine", "spline", "monotone", "circular", "smooth_prelu"]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_a_preset_starts_at_the_identity_in_any_dimension(preset, dim):
    flow = assemble(compose(f"flow={preset}", "flow.depth=3").flow, (dim,), None, generator(0, "start"), None)
    x = torch.randn(50, dim)
    sorted_alike = flow.bijector(x).sort(-1).values  # a permutation keeps a point's coordinates
    torch.testing.assert_close(sorted_alike, x.sort(-1).values, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(flow.log_prob(x), flow.base.log_prob(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_trains_and_resumes_bit_for_bit(preset, tmp_path, interrupt):
    words = [f"flow={preset}", *SMALL, "trainer.checkpoint_every=10", "trainer.log_every=10", "optimizer.lr=0.003"]
    config = compose(*words, "max_steps=30")
    whole = flowlab.train(config, tmp_path / "whole")
    initial = build(config).flow
    trained = [not torch.equal(*pair) for pair in zip(initial.parameters(), whole.flow.parameters(), strict=True)]
    assert all(trained)
    interrupt(10, flowlab.train, config, tmp_path / "stopped")
    resumed = flowlab.resume(tmp_path / "stopped")
    for one, other in zip(whole.flow.parameters(), resumed.flow.parameters(), strict=True):
        assert torch.equal(one, other)


def test_every_map_is_a_choice():
    assert set(names("map")) == set(MAPS)


@pytest.mark.parametrize("architecture", ["coupling", "autoregressive"])
@pytest.mark.parametrize("map", MAPS)
def test_a_flow_of_any_map_starts_at_the_identity_and_trains(architecture, map, tmp_path):
    words = [f"flow={architecture}", f"flow.map={map}", "flow.bins=3", *SMALL, "max_steps=5", "target=two_moons"]
    flow = assemble(compose(*words).flow, (3,), (2,), generator(0, "start"), None)
    x, context = torch.randn(20, 3), torch.randn(20, 2)
    torch.testing.assert_close(flow.log_prob(x, context), flow.base.log_prob(x), rtol=1e-5, atol=1e-5)
    run = flowlab.train(compose(*words), tmp_path / "run")
    initial = build(compose(*words)).flow
    moved = [not torch.equal(*pair) for pair in zip(initial.parameters(), run.flow.parameters(), strict=True)]
    assert all(moved)


@pytest.mark.parametrize("mixing", ["alternate", "permute", "lu", "rotation", "householder"])
def test_a_flow_of_any_mixing_starts_at_an_orthogonal_map(mixing):
    for dim in (1, 2, 5):
        words = ["flow=coupling", f"flow.mixing={mixing}", "flow.depth=3"]
        first, again, other = (
            assemble(compose(*words).flow, (dim,), None, generator(seed, "start"), None) for seed in (0, 0, 1)
        )
        x = torch.randn(20, dim)
        y = first.bijector(x)
        torch.testing.assert_close(y.norm(dim=-1), x.norm(dim=-1))
        torch.testing.assert_close(first.log_prob(x), first.base.log_prob(x), rtol=1e-5, atol=1e-5)
        assert torch.equal(again.bijector(x), y)
        is_drawn = mixing == "rotation" and dim > 1
        assert torch.allclose(y.sort(-1).values, x.sort(-1).values, atol=1e-5) != is_drawn
        assert not is_drawn or not torch.allclose(other.bijector(x), y)


@pytest.mark.parametrize("preset", ["realnvp", "nsf", "maf"])
def test_a_stacked_job_is_the_job_alone(preset, tmp_path):
    configs = [compose(f"flow={preset}", *SMALL, "max_steps=20", "dtype=float64", f"seed={seed}") for seed in (0, 1)]
    assert len({stack_key(config, build(config).target) for config in configs}) == 1
    runs = train_many(configs, [tmp_path / "0", tmp_path / "1"], say=lambda line: None)
    for config, run in zip(configs, runs, strict=True):
        alone = flowlab.train(config, tmp_path / f"alone{config.seed}")
        for one, other in zip(alone.flow.parameters(), run.flow.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_fit_learns_a_density_that_depends_on_a_context():
    """y given c is N(c, (0.5 + |c|)^2), so its average NLL is known."""
    c = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
    y = c + (0.5 + c.abs()) * torch.randn(4000, 1, generator=torch.Generator().manual_seed(1))
    flow = assemble(compose("flow=realnvp", "flow.depth=2", "flow.hidden=[32]").flow, (1,), (1,), generator(0, "start"))
    flowlab.fit(flow, y, context=c, steps=600, lr=0.01, seed=0)
    fresh = torch.randn(4000, 1, generator=torch.Generator().manual_seed(2))
    points = fresh + (0.5 + fresh.abs()) * torch.randn(4000, 1, generator=torch.Generator().manual_seed(3))
    exact = torch.distributions.Normal(fresh, 0.5 + fresh.abs()).log_prob(points).mean()
    assert exact - flow.log_prob(points, fresh).mean() < 0.03


def test_act_norm_is_initialized_from_the_training_points():
    flow = build(compose("flow=glow", "flow.depth=2", "target=banana")).flow
    norms = [stage for stage in stages(flow.bijector) if isinstance(stage, ActNorm)]
    assert len(norms) == 2
    points = build(compose("target=banana")).target.batch("train", 20_000, 0, torch.float32).x
    x = flow.bijector.inverse(points)
    torch.testing.assert_close(x.mean(0), torch.zeros(2), rtol=0, atol=0.1)
    torch.testing.assert_close(x.std(0), torch.ones(2), rtol=0, atol=0.1)


def test_halves_and_orders_change_from_layer_to_layer():
    flow = assemble(compose("flow=realnvp", "flow.depth=3").flow, (5,))
    assert [stage.mask for stage in stages(flow.bijector) if isinstance(stage, Coupling)] == [
        [True, True, False, False, False],
        [False, False, True, True, True],
        [True, True, False, False, False],
    ]
    flow = assemble(compose("flow=maf", "flow.depth=2").flow, (3,))
    orders = [stage.conditioner.order for stage in stages(flow.bijector) if isinstance(stage, MaskedAutoregressive)]
    assert orders == [[0, 1, 2], [2, 1, 0]]


def test_the_summary_says_which_direction_is_slow():
    maf = assemble(compose("flow=maf", "flow.depth=1").flow, (4,)).summary()
    assert maf["forward_passes"].max() == 4
    assert maf["inverse_passes"].max() == 1
    iaf = assemble(compose("flow=iaf", "flow.depth=1").flow, (4,)).summary()
    assert (iaf["forward_passes"].max(), iaf["inverse_passes"].max()) == (1, 4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["flow.map=splin"], "flow.map='splin': no such map; did you mean 'spline'.*additive, affine, spline"),
        (["flow.mixing=rotations"], "flow.mixing='rotations'.*lu, rotation, householder"),
        (["flow.hidden=[]"], "flow.hidden"),
        (["flow.hidden=[0]"], "flow.hidden"),
        (["flow.bins=1"], "flow.bins=1: must be at least 2"),
    ],
)
def test_settings_out_of_range_are_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        compose("flow=coupling", *words)
