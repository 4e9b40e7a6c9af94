"""Planar and radial flows: they start at the identity, and train, stack and resume."""

import pytest
import torch

import flowlab
from flowlab.bijectors import Planar, Radial, stages
from flowlab.config.compose import compose
from flowlab.config.errors import ConfigError
from flowlab.flows._assemble import assemble
from flowlab.seeding import generator
from flowlab.sweeps.train_many import train_many
from flowlab.training.build import build

SMALL = ["flow.depth=3", "batch_size=64", "validation_size=200", "test_size=200", "optimizer.lr=0.003"]


@pytest.mark.parametrize("fast", ["density", "samples"])
@pytest.mark.parametrize("layer", ["planar", "radial"])
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_a_preset_starts_at_the_identity_in_any_dimension(layer, fast, dim):
    flow = assemble(compose(f"flow={layer}", f"flow.fast={fast}").flow, (dim,), None, generator(0, "start"))
    x = torch.randn(50, dim)
    torch.testing.assert_close(flow.bijector(x), x, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(flow.log_prob(x), flow.base.log_prob(x), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("layer", "fast"), [("planar", "density"), ("planar", "samples"), ("radial", "density")])
def test_a_preset_trains_and_resumes_bit_for_bit(layer, fast, tmp_path, interrupt):
    words = [f"flow={layer}", f"flow.fast={fast}", *SMALL, "trainer.checkpoint_every=10", "trainer.log_every=10"]
    config = compose(*words, "max_steps=30")
    whole = flowlab.train(config, tmp_path / "whole")
    initial = build(config).flow
    assert all(not torch.equal(*pair) for pair in zip(initial.parameters(), whole.flow.parameters(), strict=True))
    interrupt(10, flowlab.train, config, tmp_path / "stopped")
    resumed = flowlab.resume(tmp_path / "stopped")
    for one, other in zip(whole.flow.parameters(), resumed.flow.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("layer", ["planar", "radial"])
def test_a_stacked_job_is_the_job_alone(layer, tmp_path):
    configs = [compose(f"flow={layer}", *SMALL, "max_steps=20", "dtype=float64", f"seed={seed}") for seed in (0, 1)]
    runs = train_many(configs, [tmp_path / "0", tmp_path / "1"], say=lambda line: None)
    for config, run in zip(configs, runs, strict=True):
        alone = flowlab.train(config, tmp_path / f"alone{config.seed}")
        for one, other in zip(alone.flow.parameters(), run.flow.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("layer", ["planar", "radial"])
def test_a_flow_learns(layer):
    points = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    points[:, 1] += 0.7 * points[:, 0].abs() - 0.5
    flow = assemble(compose(f"flow={layer}", "flow.depth=4").flow, (2,), None, generator(0, "start"))
    before = flow.log_prob(points).mean()
    flowlab.fit(flow, points, steps=150, lr=0.02, seed=0)
    assert flow.log_prob(points).mean() > before + 0.02


def test_fast_chooses_the_closed_form_and_a_seed_draws_the_layers():
    def build_flow(*words, seed=0):
        return assemble(compose(*words, "flow.depth=2").flow, (3,), None, generator(seed, "start"))

    density, samples = build_flow("flow=planar"), build_flow("flow=planar", "flow.fast=samples")
    assert all(isinstance(stage.inv, Planar) for stage in stages(density.bijector))
    assert all(isinstance(stage, Planar) for stage in stages(samples.bijector))
    assert all(isinstance(stage, Radial) for stage in stages(build_flow("flow=radial", "flow.fast=samples").bijector))
    for preset in ("flow=planar", "flow=radial"):
        first, again, other = (list(build_flow(preset, seed=seed).parameters()) for seed in (0, 0, 1))
        assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
        assert not all(torch.equal(*pair) for pair in zip(first, other, strict=True))


def test_points_that_are_no_vectors_are_refused():
    with pytest.raises(ConfigError, match="flow=planar_radial: is for vectors; .* shape \\(2, 2\\)"):
        assemble(compose("flow=planar").flow, (2, 2))
