"""The registry: names, options, classes of installed packages and of a user, and the answer where there is none."""

import copy
import pickle
import textwrap
from dataclasses import dataclass

import pytest
import torch

import flowlab
from flowlab import ConfigError, compose, load_run, load_sweep
from flowlab.cli.main import main
from flowlab.config.component import Component
from flowlab.config.registry import PACKAGES, lookup, names, option_names, register
from flowlab.config.schema import to_config
from flowlab.flows import Architecture
from flowlab.flows._assemble import assemble
from flowlab.runs.record import Checkpoints
from flowlab.targets.base import Batch
from flowlab.training.build import build, build_batches
from flowlab.training.step import Recipe, SingleStep, StackedStep, new_state, rates_of_steps


@pytest.mark.parametrize("group", PACKAGES)
def test_a_component_knows_its_group_and_its_name(group):
    assert names(group)
    for name in names(group):
        component = lookup(group, name)
        assert (component.group, component.name) == (group, name)
        if component.__module__.startswith("flowlab."):  # not one that a script or another test has registered
            assert component.__module__.startswith(PACKAGES[group])


@pytest.mark.parametrize("group", [group for group in PACKAGES if group not in ("metric", "map", "task")])
def test_every_component_has_an_option(group):
    """mlp and planar_radial have two options each, named after their layers."""
    assert {"mlp", "planar_radial"} >= set(names(group)) - set(option_names(group))


def test_duplicate_name_is_refused():
    with pytest.raises(ValueError, match=r"register\('target', 'banana'\): .*Banana has this name; choose another"):

        @register("target", "banana")
        @dataclass
        class Other(Component):
            pass

    assert lookup("target", "banana").__name__ == "Banana"
    register("target", "banana")(lookup("target", "banana"))  # importing a module again registers the same class again


def test_a_name_of_an_option_is_refused():
    """flow=nice is a file with the settings of another component, which would answer for the new one."""
    with pytest.raises(ValueError, match=r"register\('flow', 'nice'\): flowlab has flow=nice already; choose another"):

        @register("flow", "nice")
        @dataclass
        class Other(Architecture):
            pass


@pytest.mark.parametrize("group", [group for group in PACKAGES if group not in ("metric", "map")])
def test_a_dataclass_must_be_a_component_of_its_group(group):
    @dataclass
    class Plain:
        depth: int = 4

    with pytest.raises(ConfigError, match=rf"Plain: is a dataclass, and must be derived from {PACKAGES[group]}.base"):
        register(group, "plain")(Plain)
    assert "plain" not in names(group)


def test_unknown_group_or_name_suggests_the_closest():
    with pytest.raises(ValueError, match=r"no such group; did you mean 'target'\? allowed: flow, target"):
        register("targets", "x")
    with pytest.raises(ConfigError, match=r"target.name='bananna': no such target; did you mean 'banana'\?"):
        lookup("target", "bananna")


PACKAGE = """
    import torch
    from torch import nn

    from flowlab import Flow, StandardNormal
    from flowlab.bijectors import Bijector, LowRankAffine, SmoothPReLU
    from flowlab.targets.base import ExactTarget

    class Diagonals(Bijector):  # draws its initial parameters from torch's own generator
        event_dim = 1

        def __init__(self, dim: int, depth: int, spread: float = 0.5, kind: "str | None" = None, act=torch.exp, n=(1,)):
            super().__init__()
            self.log_scale = nn.Parameter(torch.randn(depth, dim) * 0.1)
            self.shift = nn.Parameter(torch.randn(depth, dim) * spread)

        def forward_and_log_det(self, x, context=None):
            for log_scale, shift in zip(self.log_scale, self.shift):
                x = x * log_scale.exp() + shift
            return x, self.log_scale.sum().expand(x.shape[:-1])

        def inverse_and_log_det(self, y, context=None):
            for log_scale, shift in zip(self.log_scale.flip(0), self.shift.flip(0)):
                y = (y - shift) * (-log_scale).exp()
            return y, -self.log_scale.sum().expand(y.shape[:-1])

    class Whole(Flow):
        def __init__(self, dim, generator, rank: int = 1):
            affine = [LowRankAffine(dim, rank, generator=generator) for _ in range(2)]
            super().__init__(StandardNormal(dim), affine[0] | SmoothPReLU() | affine[1])

    class HalfFrozen(Whole):
        def __init__(self, dim, generator):
            super().__init__(dim, generator)
            self.bijector[0].requires_grad_(False)

    class Shared(Flow):  # one parameter in two modules
        def __init__(self, dim, generator):
            first, second = SmoothPReLU(), SmoothPReLU()
            second.raw_slope = first.raw_slope
            affine = [LowRankAffine(dim, 1, generator=generator, factor_scale=0.1) for _ in range(2)]
            super().__init__(StandardNormal(dim), affine[0] | first | affine[1] | second)

    class Spare(Whole):  # a parameter that no loss reaches
        def __init__(self, dim, generator):
            super().__init__(dim, generator)
            self.spare = nn.Parameter(torch.ones(2))

    class Ring(ExactTarget):
        bounds = quadrature_bounds = ((-20.0, 20.0), (-20.0, 20.0))

        def __init__(self, radius: float = 2.0, train_size: int | None = None):
            super().__init__(train_size)
            self.radius = radius

        def from_draws(self, drawn):
            return self.radius * drawn

        def log_prob(self, x):
            return torch.distributions.Normal(0.0, self.radius).log_prob(x).sum(-1)

    class Fixed(Bijector):
        event_dim = 1

        def __init__(self, dim: int):
            super().__init__()

    class Scalar(Flow):
        def __init__(self, dim: int):
            super().__init__(StandardNormal(dim + 1), LowRankAffine(dim + 1))

    class Broken(Bijector):
        def __init__(self, dim: int):
            raise KeyError("nothing works")

    class Boundless(ExactTarget):
        dim = 3
"""
FLOW = ("flow=custom", "flow._target_=ownflows.Diagonals", "+flow.depth=2")
QUICK = ("max_steps=60", "test_size=200", "validation_size=200", "batch_size=32", "trainer.progress=off")


@pytest.fixture(scope="module", autouse=True)
def _package(tmp_path_factory):
    directory = tmp_path_factory.mktemp("own")
    (directory / "ownflows.py").write_text(textwrap.dedent(PACKAGE))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(directory))
        patch.setenv("PYTHONPATH", str(directory))
        patch.setenv("FLOWLAB_ALLOW", "ownflows")
        yield


def test_constructor_arguments_are_the_keys():
    flow = compose(*FLOW).flow
    values = {"name": "custom", "_target_": "ownflows.Diagonals", "depth": 2, "spread": 0.5, "kind": None, "n": [1]}
    assert compose(*FLOW).to_dict()["flow"] == values
    assert compose(*FLOW, "+flow.spread=2").flow.spread == 2.0
    config = compose(*FLOW)
    for other in (to_config(config.to_dict()), copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert other == config
    assert flow != compose(*FLOW, "+flow.kind=a").flow


MISTAKES = {
    "a wrong key": ([*FLOW, "+flow.dept=3"], "flow.dept: no such key; did you mean 'depth'?"),
    "a missing key": (FLOW[:2], "flow.depth: must be given: +flow.depth=..."),
    "a key without a plus": ([*FLOW[:2], "flow.depth=3"], "flow.depth: a key of your own class needs a plus: +"),
    "a wrong type": ([*FLOW, "++flow.depth=abc"], "flow.depth='abc': must be a whole number"),
    "no class": (FLOW[:1], "flow._target_: must be given: flow._target_=package.Class"),
    "no such class": (["flow=custom", "flow._target_=ownflows.Nope"], "has no attribute 'Nope'"),
    "no flow": (["flow=custom", "flow._target_=ownflows.Ring"], "must be a class derived from"),
    "a component": (["flow=custom", "flow._target_=flowlab.flows.mlp.MLP"], "is registered by an entry point"),
    "no target": (["target=custom", "target._target_=ownflows.Whole"], "derived from flowlab.targets.base.Target"),
    "no parameters": (["flow=custom", "flow._target_=ownflows.Fixed"], "has no parameters to train"),
    "other dimensions": (["flow=custom", "flow._target_=ownflows.Scalar"], "is for points of shape (3,)"),
    "a broken constructor": (["flow=custom", "flow._target_=ownflows.Broken"], "cannot be built: KeyError: 'nothing"),
    "no bounds": (["target=custom", "target._target_=ownflows.Boundless"], "bounds: must be an interval for each of"),
    "not allowed": (["flow=custom", "flow._target_=textwrap.TextWrapper"], "FLOWLAB_ALLOW=textwrap"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistake_is_named_and_nothing_is_written(case, tmp_path, monkeypatch, capsys):
    words, said = MISTAKES[case]
    monkeypatch.chdir(tmp_path)
    assert main(list(words)) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_initial_parameters_are_drawn_from_the_seed():
    for words in (FLOW, ("flow=custom", "flow._target_=ownflows.Whole")):
        config = compose(*words)
        torch.manual_seed(1)
        before = torch.get_rng_state()
        first, same, other = (
            assemble(config.flow, (3,), None, torch.Generator().manual_seed(seed)).state_dict() for seed in (0, 0, 1)
        )
        assert torch.equal(torch.get_rng_state(), before)
        assert all(torch.equal(first[name], same[name]) for name in first)
        assert not all(torch.equal(first[name], other[name]) for name in first)


def test_custom_target_builds():
    target = compose("target=custom", "target._target_=ownflows.Ring", "+target.radius=1.5").target.build()
    assert target.entropy == pytest.approx(2 * (0.5 * (1 + torch.log(torch.tensor(2 * torch.pi)).item()) + 0.4054651))


@pytest.mark.parametrize("name", ["Diagonals", "Whole", "HalfFrozen", "Spare"])
def test_resumed_run_ends_at_same_bits(name, tmp_path, monkeypatch):
    words = ["flow=custom", f"flow._target_=ownflows.{name}", "target=custom", "target._target_=ownflows.Ring"]
    words += ["+flow.depth=2"] if name == "Diagonals" else []
    config = compose(*words, *QUICK, "trainer.checkpoint_every=20")
    whole = flowlab.train(config, tmp_path / "whole")

    class KilledError(Exception):
        pass

    def killed(self, step, *rest, save=Checkpoints.step):
        save(self, step, *rest)
        if step == 40:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "step", killed)
        with pytest.raises(KilledError):
            flowlab.train(config, tmp_path / "stopped")
    assert load_run(tmp_path / "stopped").checkpoint("last")["global_step"] == 40
    resumed = flowlab.resume(tmp_path / "stopped")
    assert resumed.result["kl"] == whole.result["kl"]
    first, second = whole.flow.state_dict(), resumed.flow.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", ["HalfFrozen", "Shared", "Spare"])
def test_frozen_shared_and_unreached_parameters_train_equally_alone_and_stacked(name):
    words = ["flow=custom", f"flow._target_=ownflows.{name}", "batch_size=32", "dtype=float64"]
    alone, stacked = (build(compose(*words)) for _ in range(2))
    batches = build_batches(alone.objective, alone.flow, alone.target, 0, 32, alone.dtype, "cpu")
    recipe = Recipe(
        lambda module, batch: alone.objective(module, batch, alone.target), alone.optimizer, batches.from_draws
    )
    steps = [SingleStep(alone.flow, recipe), StackedStep([stacked.flow], recipe)]
    states = [new_state([experiment.flow], alone.optimizer) for experiment in (alone, stacked)]
    before = states[0].numbers.clone()
    for number, rates in rates_of_steps([alone.optimizer], range(5), 100, before):
        drawn = Batch(*(tensor[None] for tensor in batches.draw(number).tensors()))
        states = [step(state, drawn, rates)[0] for step, state in zip(steps, states, strict=True)]
    assert not torch.equal(states[0].numbers, before)
    torch.testing.assert_close(states[0].numbers, states[1].numbers, rtol=1e-9, atol=1e-9)


def test_a_file_is_standardized_by_a_last_bijector(tmp_path, iris):
    words = ["flow=custom", "flow._target_=ownflows.Whole", "target=file", f"target.path={iris}"]
    run = flowlab.train(compose(*words, *QUICK), tmp_path / "run")
    points = run.target.rows("test", 0, 0)
    assert -run.flow.log_prob(points).mean().item() == pytest.approx(run.result["nll"], rel=1e-5)


def test_a_directory_loads_where_the_package_is_allowed(tmp_path, monkeypatch):
    run = flowlab.train(compose(*FLOW, *QUICK), tmp_path / "run")
    assert torch.equal(load_run(run.directory).flow.bijector.shift, run.flow.bijector.shift)
    monkeypatch.delenv("FLOWLAB_ALLOW")
    with pytest.raises(ConfigError, match=r"config.yaml: flow._target_=ownflows.Diagonals: the package ownflows is"):
        load_run(run.directory)


def test_custom_flow_trains_on_two_ranks_and_in_a_sweep(tmp_path, monkeypatch, capsys):
    """New processes inherit the allow-list, and the jobs of a sweep run one after the other."""
    monkeypatch.chdir(tmp_path)
    assert main([*FLOW, *QUICK, "trainer=ddp_cpu", "trainer.progress=off", "hydra.run.dir=ranks"]) == 0
    words = ["-m", "hydra/launcher=stacked", *FLOW[:2], "+flow.depth=1,2", "seed=0,1", "hydra.sweep.dir=sweep"]
    assert main([*words, *QUICK]) == 0
    assert "4 jobs: 4 alone" in capsys.readouterr().err
    table = load_sweep(tmp_path / "sweep")
    assert list(table["flow.depth"]) == [1, 1, 2, 2]
    assert set(table["status"]) == {"done"}
    alone = flowlab.train(compose(*FLOW, *QUICK), tmp_path / "alone")
    assert table["kl"][2] == alone.result["kl"]
