"""Composition from the YAML, and the answer to every kind of mistake."""

import subprocess
import sys

import pytest

from flowlab.architectures import build_flow
from flowlab.config import compose, conf_directory, to_config, to_dict
from flowlab.schemas import SCHEMAS, ConfigError

GROUPS = sorted(path.name for path in conf_directory().iterdir() if path.is_dir() and path.name != "hydra")
OPTIONS = [(group, path.stem) for group in GROUPS for path in sorted((conf_directory() / group).glob("*.yaml"))]


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids="=".join)
def test_every_option_composes(group, option):
    extra = {
        ("target", "file"): ["target.path=points.csv"],
        ("target", "custom"): ["target._target_=flowlab.targets.Funnel"],
        ("flow", "custom"): ["flow._target_=flowlab.bijectors.LowRankAffine"],
    }.get((group, option), [])
    config = compose(f"{'+' if group == 'sweep' else ''}{group}={option}", *extra)
    assert to_config(to_dict(config)) == config


def test_every_group_but_experiment_has_schemas():
    assert set(GROUPS) - {"experiment", "sweep"} == set(SCHEMAS)


def test_document_settings():
    jang = compose("experiment=banana_document")
    assert (jang.max_steps, jang.batch_size, jang.optimizer.lr) == (100_000, 512, 1e-3)
    assert (jang.flow.depth, jang.flow.rank, jang.flow.activation, jang.flow.positive) == (6, 2, "prelu", "abs")
    assert (jang.flow.start, jang.optimizer.schedule) == ("glorot", "constant")
    flow = build_flow(jang.flow, 2)
    assert len(flow.bijector) == 11
    assert sum(p.numel() for p in flow.parameters()) == 6 * (3 + 4 + 2) + 5
    keydana = compose("experiment=keydana")
    assert (keydana.max_steps, keydana.batch_size, keydana.target.train_size) == (1000, 100, 1000)
    assert [type(part).__name__ for part in build_flow(keydana.flow, 2).bijector.parts] == ["LowRankAffine", "PReLU"]


def test_glorot_limits_are_the_documents():
    flow = build_flow(compose("flow=prelu", "flow.depth=2000", "flow.final_activation=true").flow, 2)
    limits = {"scale": 1.0, "factor": 1.2247, "shift": 1.2247, "raw_slope": 1.7321}
    for name, limit in limits.items():
        largest = max(p.abs().max().item() for key, p in flow.named_parameters() if key.endswith(f".{name}"))
        assert 0.99 * limit < largest <= limit + 1e-4


def test_whole_numbers_are_numbers():
    target = compose("target=gaussian", "target.mean=[1,2]", "target.factor=[[2,0],[0,1]]").target
    assert target.mean == [1.0, 2.0]
    assert target.factor == [[2.0, 0.0], [0.0, 1.0]]


def test_command_line_beats_experiment_beats_group():
    assert compose("experiment=banana_document").optimizer.lr == 1e-3
    assert compose("experiment=banana_document", "optimizer.lr=0.5").optimizer.lr == 0.5
    assert compose("experiment=banana_document", "flow=smooth_prelu").flow.activation == "smooth_prelu"


MISTAKES = {
    "unknown key": (["flow.dept=3"], r"flow.dept: no such key in flow; did you mean 'depth'\? allowed: .*rank"),
    "unknown top key": (["max_step=3"], r"max_step: no such key; did you mean 'max_steps'"),
    "added key": (["+foo=1"], "foo: no such key"),
    "a setting of Lightning": (
        ["trainer.accumulate_grad_batches=4"],
        r"trainer.accumulate_grad_batches: no such key in trainer; batch_size is the batch of a whole step, and "
        r"trainer.devices processes share it; allowed: accelerator, devices",
    ),
    "a setting of Lightning, added": (
        ["+trainer.accumulate_grad_batches=4"],
        r"trainer.accumulate_grad_batches: no such key; batch_size is the batch of a whole step, ",
    ),
    "added key in a group": (["+flow.foo=1"], "flow.foo: no such key"),
    "unknown option": (["target=bananna"], r"target=bananna: .*did you mean 'banana'\? allowed: banana, checkerboard"),
    "unknown experiment": (["experiment=nope"], "experiment=nope: .*allowed: banana, banana_document, keydana"),
    "word for a number": (["flow.depth=abc"], "flow.depth='abc': must be a whole number"),
    "fraction for a whole number": (["flow.depth=2.5"], "flow.depth=2.5: must be a whole number"),
    "scientific steps": (["max_steps=1e3"], "max_steps=1000.0: must be a whole number"),
    "number for a flag": (["flow.weighted=7"], "flow.weighted=7: must be true or false"),
    "flag for a number": (["seed=true"], "seed=True: must be a whole number"),
    "negative depth": (["flow.depth=-1"], "flow.depth=-1: must be at least 1"),
    "negative rank": (["flow.rank=-1"], "flow.rank=-1: must be at least 0"),
    "batch of nothing": (["batch_size=0"], "batch_size=0: must be at least 1"),
    "no steps": (["max_steps=0"], "max_steps=0"),
    "negative seed": (["seed=-1"], "seed=-1: must be at least 0"),
    "rate of 0": (["optimizer.lr=0"], "optimizer.lr=0.0: must be greater than 0"),
    "rate not a number": (["optimizer.lr=nan"], "optimizer.lr=nan: must be a finite number"),
    "wrong choice": (["flow.scale=dense"], "flow.scale='dense': allowed: tril, diag"),
    "wrong dtype": (["dtype=float16"], r"dtype='float16': .*allowed: float32, float64"),
    "wrong name inside a group": (["target.name=foo"], "target.name='foo' is unknown; allowed: banana"),
    "missing path": (["target=file"], "target.path: must be given"),
    "number for a list": (["target=gaussian", "target.mean=3"], "target.mean=3: must be a list of numbers"),
    "word in a list of lists": (["target=gaussian", "target.factor=[[1,a],[0,1]]"], "must be a list of lists"),
    "number in a list of lists": (["target=gaussian", "target.factor=[1,2]"], "must be a list of lists"),
    "word in a list": (["target=gaussian", "target.mean=[1,a]"], "'a': must be a list of numbers"),
    "betas": (["optimizer.betas=[0.9]"], "optimizer.betas"),
    "beta of 1": (["optimizer.betas=[0.9,1.0]"], "optimizer.betas"),
    "a fraction of 2": (["target=file", "target.path=x.csv", "target.test=2"], "target.test=2.0: .*less than 1"),
    "group removed": (["~target"], "target=None: must be an option of the group target"),
    "group of nothing": (["target=null"], "target=None: no such option; allowed: banana"),
    "sweep without -m": (["seed=0,1"], "seed: several values make a sweep, which needs -m"),
    "open bracket": (["seed=[1,2"], r"\[1,2"),
    "no process": (["trainer.devices=0"], "trainer.devices=0: must be at least 1"),
    "machines that nothing starts": (
        ["trainer=ddp", "trainer.nodes=2"],
        "trainer.nodes=2: processes on several machines",
    ),
    "rare checkpoints": (["trainer.checkpoint_every=5000"], "trainer.checkpoint_every=5000: must be at most 1000"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named(case):
    overrides, message = MISTAKES[case]
    with pytest.raises(ConfigError, match=message):
        compose(*overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["flow.rank=3"], "flow.rank=3: must be at most the dimension of the target, 2"),
        (["target=gaussian", "target.factor=[[1.0,1.0],[1.0,1.0]]"], "singular"),
        (["target=file", "target.path=missing.csv"], "missing.csv: no such file"),
        (
            ["flow.start=covering", "flow.final_activation=true"],
            "flow.start=covering: .*use flow.final_activation=false",
        ),
        (["objective=reverse_kl", "target=checkerboard"], "objective=reverse_kl: .*target=checkerboard"),
        (["target=funnel", "target.dim=200000"], "200000 columns.*GB.*flow.scale=diag"),
        (["batch_size=100000000000"], "batch_size=100000000000: would take about .* GB"),
        (["test_size=100000000000"], "test_size=100000000000: would take about .* GB"),
        (["logger=wandb", "logger.figures_every=0"], "logger.figures_every=0: must be at least 1"),
        (["logger=wandb", "logger.mode=online"], "logger.mode=online: no Weights & Biases key"),
        (["trainer=gpu"], "no GPU"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_does_not_fit_together_is_named(overrides, message, monkeypatch):
    from flowlab.training.check import check_run

    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", "/nonexistent")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match=message):
        check_run(compose(*overrides))


def test_composing_needs_no_torch():
    code = "import sys, flowlab; flowlab.compose('target=funnel'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
