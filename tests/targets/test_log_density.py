"""A target that is a log density alone: in memory, as a configuration, trained, resumed, swept and drawn."""

import json
import math
import sys
import textwrap

import pytest
import torch
from torch.distributions import Distribution, Gamma, Normal, constraints

import flowlab
from flowlab import ConfigError, compose
from flowlab.plotting import run_figures
from flowlab.sweeps.train_many import stack_key
from flowlab.targets import LogDensity
from flowlab.training.build import build

SOURCE = """
    import torch
    from torch.distributions import Gamma, Normal

    def gaussian(x):
        return Normal(torch.tensor([1.0, 2.0, 3.0]), 0.5).log_prob(x).sum(-1) + 4.0  # log Z = 4

    def plane(x):
        return Normal(0.0, 1.0).log_prob(x).sum(-1)

    def gamma(x):
        return Gamma(3.0, 2.0).log_prob(x).sum(-1)

    def branching(x):
        return -x.square().sum(-1) if x.abs().max() < 1e9 else x.sum(-1)

    def detached(x):
        return -x.detach().square().sum(-1)

    def summed(x):
        return -x.square()

    def number(x):
        return 1.0

    def failing(x):
        raise RuntimeError("no such thing")

    class Thing:
        pass
"""
SMALL = (
    *("flow=planar", "flow.depth=2", "max_steps=30", "batch_size=64", "validation_size=200", "test_size=500"),
    *("trainer.validate_every=10", "trainer.checkpoint_every=10", "trainer.progress=off", "trainer.log_every=10"),
)


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "own_densities.py").write_text(textwrap.dedent(SOURCE))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("FLOWLAB_ALLOW", "own_densities")
    yield
    sys.modules.pop("own_densities", None)


def density(name, dim=3, *words):
    names = ("target=density", f"target._target_=own_densities.{name}", f"target.dim={dim}")
    return compose(*names, "objective=reverse_kl", *SMALL, *words)


def test_log_density_and_its_declarations():
    target = LogDensity(lambda x: Gamma(3.0, 2.0).log_prob(x).sum(-1), dim=2, support=constraints.positive)
    x = torch.rand(4, 5, 2) + 0.1
    torch.testing.assert_close(target.log_prob(x), Gamma(3.0, 2.0).log_prob(x).sum(-1))
    assert target.log_prob(x.double()).dtype == torch.float64
    assert (target.has_points, target.has_density, target.log_normalizer, target.entropy) == (False, True, None, None)
    assert target.support_of_flow(False).words == ("positive", "positive")


def test_arguments_of_distributions_are_not_checked_inside_and_are_again_outside(monkeypatch):
    monkeypatch.setattr(Distribution, "_validate_args", True)  # torch turns it off once something was compiled
    target = LogDensity(lambda x: Normal(0.0, 1.0).log_prob(x).sum(-1), dim=1)
    assert target.log_prob(torch.tensor([[math.nan]])).isnan().all()
    with pytest.raises(ValueError, match="within the support"):
        Normal(0.0, 1.0).log_prob(torch.tensor(math.nan))


def test_training_by_a_configuration_reports_the_elbo(tmp_path):
    run = flowlab.train(density("gaussian", 3, "flow=realnvp", "max_steps=200", "optimizer.lr=0.02"), tmp_path / "run")
    assert run.done
    assert run.result["elbo"] == pytest.approx(4.0, abs=0.1)
    assert run.result["elbo"] < 4.0 + 5 * run.result["elbo_se"]
    assert not {"nll", "kl", "gaussian_nll"} & set(run.result)
    rows = run.metrics
    assert rows["elbo"].notna().sum() == 20
    assert "nll" not in rows
    assert run.result["best_step"] == rows.loc[rows["elbo"].idxmax(), "step"]
    assert {path.name for path in (run.directory / "figures").iterdir()} == {"samples.png", "layers.png", "loss.png"}


def test_objective_follows_from_the_target():
    from flowlab.config.registry import add_suitable_options

    assert "objective=reverse_kl" in add_suitable_options(["target=density"])


def test_resumed_run_equals_one_that_was_not_interrupted(tmp_path):
    whole = flowlab.train(density("gamma", 2, "target.support=[positive]"), tmp_path / "whole")
    part = flowlab.train(density("gamma", 2, "target.support=[positive]", "max_steps=10"), tmp_path / "part")
    assert part.result["steps"] == 10
    resumed = flowlab.train(density("gamma", 2, "target.support=[positive]"), tmp_path / "again")
    assert resumed.result["elbo"] == whole.result["elbo"]
    (tmp_path / "again/result.json").unlink()
    (tmp_path / "again/status.json").write_text(json.dumps({"status": "interrupted"}))
    assert flowlab.resume(tmp_path / "again").result["elbo"] == whole.result["elbo"]


def test_flow_of_a_run_is_loaded_without_the_function(tmp_path, monkeypatch):
    run = flowlab.train(density("gaussian", 3, "target.support=[positive,real,bounded:-1:2]"), tmp_path / "run")
    before = run.flow.sample((5,), generator=torch.Generator().manual_seed(0))
    monkeypatch.setenv("FLOWLAB_ALLOW", "own_densities")
    sys.modules.pop("own_densities", None)
    (tmp_path / "own_densities.py").unlink()
    flow = flowlab.load_run(tmp_path / "run").flow
    assert torch.equal(flow.sample((5,), generator=torch.Generator().manual_seed(0)), before)
    assert (before[:, 0] > 0).all()
    assert ((before[:, 2] > -1) & (before[:, 2] < 2)).all()


def test_flow_on_a_simplex_has_one_coordinate_less_inside(tmp_path):
    config = density("plane", 4, "target.support=[simplex:3,real]")
    assert build(config).flow.base.event_shape == (3,)
    run = flowlab.train(config, tmp_path / "run")
    points = flowlab.load_run(run.directory).flow.sample((100,))
    torch.testing.assert_close(points[:, :3].sum(-1), torch.ones(100))


@pytest.mark.parametrize(("name", "stacks"), [("gaussian", True), ("branching", False)])
def test_jobs_of_a_sweep_are_stacked_if_vmap_takes_the_function(name, stacks, tmp_path):
    configs = [density(name, 3, f"seed={seed}") for seed in (0, 1)]
    keys = [stack_key(config, config.target.build()) for config in configs]
    assert (keys[0] is not None) is stacks
    assert keys[0] == keys[1]
    runs = flowlab.train_many(configs, [tmp_path / "sweep/0", tmp_path / "sweep/1"])
    alone = flowlab.train(configs[1], tmp_path / "alone")
    assert all(run.done for run in runs)
    assert runs[1].result["elbo"] == pytest.approx(alone.result["elbo"], abs=1e-3)
    table = flowlab.load_sweep(tmp_path / "sweep")
    assert table["elbo"].notna().all()


def test_summary_of_a_sweep_shows_the_elbo(tmp_path, capsys):
    from flowlab.sweeps.summary import measure, runs_table

    configs = [density("plane", 2, f"seed={seed}") for seed in (0, 1)]
    flowlab.train_many(configs, [tmp_path / "sweep/0", tmp_path / "sweep/1"])
    table = flowlab.load_sweep(tmp_path / "sweep")
    assert measure(table) == "elbo"
    assert "elbo (nats)" in runs_table(table)


def test_figures_in_two_dimensions_show_a_density_that_is_normalized_in_the_frame(tmp_path):
    experiment = build(density("gamma", 2, "target.support=[positive]"))
    run = flowlab.train(density("gamma", 2, "target.support=[positive]"), tmp_path / "run")
    figures = run_figures(run.flow, experiment.target, run.metrics, seed=0)
    assert set(figures) == {"samples", "density", "layers", "loss"}
    assert "normalized in this frame" in figures["density"].axes[0].get_title(loc="left")
    from flowlab.plotting import grid_density

    grid = grid_density(
        LogDensity(lambda x: Normal(0.0, 1.0).log_prob(x).sum(-1) + 7, 2), ((-6, 6),) * 2, torch.empty(0)
    )
    assert float(grid.sum()) * (12 / (len(grid) - 1)) ** 2 == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        (
            "failing",
            (),
            "target._target_=own_densities.failing: fails for points of shape (64, 3): RuntimeError: no such",
        ),
        ("summed", (), "gives of shape (64, 3) for points of shape (64, 3), and must give one log density for each"),
        ("number", (), "gives float for points of shape (64, 3)"),
        ("detached", (), "its values have no gradient; use operations of torch"),
        ("gamma", (), "is not finite at"),
        ("Thing", (), "must be a function, and is a type; a class is target=custom"),
        ("missing", (), "cannot be imported: AttributeError"),
        ("gaussian", ("target.support=[positive,real]",), "is for 2 coordinates, but a point has 3"),
        ("gaussian", ("target.support=[wide]",), "support=wide: no such support; allowed: real, positive"),
        ("gaussian", ("objective=maximum_likelihood",), "objective=maximum_likelihood: needs points of the target"),
        (
            "gaussian",
            ("metrics=[forward_ess]",),
            "forward_ess is measured on points of the target, and this target has a density alone",
        ),
        ("gaussian", ("target.dim=0",), "target.dim=0"),
        ("branching", ("trainer.compile=true",), "the function of the target branches on values"),
    ],
)
def test_mistakes_are_named_before_anything_is_written(name, words, message, tmp_path):
    with pytest.raises(ConfigError) as caught:
        flowlab.train(density(name, 3, *words), tmp_path / "run")
    assert message in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_function_of_a_package_that_is_not_allowed_is_not_imported(monkeypatch):
    monkeypatch.setenv("FLOWLAB_ALLOW", "")
    with pytest.raises(ConfigError, match="the package own_densities is not allowed"):
        density("gaussian")
    assert "own_densities" not in sys.modules
    with pytest.raises(ConfigError, match=r"target\._target_"):
        compose("target=density", "target.dim=3")


def test_a_dimension_must_be_named():
    with pytest.raises(ConfigError, match=r"target\.dim"):
        compose("target=density", "target._target_=own_densities.gaussian")
