"""A user's configuration directory: more options of each group, under the same checks."""

import pytest

from flowlab import ConfigError, compose, load_sweep
from flowlab.cli.main import main

QUICK = ("max_steps=2", "test_size=50", "validation_size=50", "batch_size=8", "trainer.progress=off")


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A function that writes a YAML file into the directory `own`."""
    monkeypatch.chdir(tmp_path)

    def write(name, text):
        path = tmp_path / "own" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    write("flow/deep", "name: mlp\ndepth: 3\nrank: 1\n")
    return write


def test_own_experiment_and_flow_have_names(own):
    own("experiment/mine", "# @package _global_\ndefaults: [override /flow: deep]\nseed: 7\n")
    config = compose("experiment=mine", config_dir="own")
    assert (config.seed, config.flow.depth, config.flow.rank, config.flow.smoothness) == (7, 3, 1, 1.0)
    with pytest.raises(ConfigError, match="experiment=mine: no such option"):
        compose("experiment=mine")
    with pytest.raises(ConfigError, match="flow=deeep: no such option; did you mean 'deep'"):
        compose("flow=deeep", config_dir="own")


def test_a_sweep_names_a_key_that_an_own_preset_leaves_out(own, capsys):
    own("flow/short", "name: mlp\n")
    assert main(["--config-dir", "own", "-m", "flow=smooth_prelu,short", "flow.rank=0,1", *QUICK]) == 2
    assert "needs a plus: +flow.rank" in capsys.readouterr().err


def test_own_sweep_runs(own):
    own("sweep/both", "# @package _global_\nhydra: {sweeper: {params: {flow: 'deep,smooth_prelu'}}}\n")
    assert main(["--config-dir", "own", "-m", "+sweep=both", *QUICK, "hydra.sweep.dir=sweep"]) == 0
    assert list(load_sweep("sweep")["flow.depth"]) == [3, 6]


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("experiment/x", "# @package _global_\nhydra: {job: {env_set: {A: b}}}\n", r"hydra\.job\.env_set: a file in"),
        ("experiment/x", "# @package hydra.job.env_set\nA: b\n", r"hydra\.job\.env_set: a file in --config-dir"),
        ("experiment/x", "# @package _global_\nhydra: {callbacks: {a: {b: 1}}}\n", r"hydra\.callbacks: a file in"),
        ("experiment/x", "# @package _global_\nflow: {_target_: os.system}\n", "the package os is not allowed"),
        ("experiment/x", "# @package _global_\nflow: {dept: 3}\n", "dept"),
        ("experiment/x", "a: [\n", "experiment=x"),
        ("flow/prelu", "name: mlp\n", r"flowlab has flow=prelu already; choose another name"),
    ],
)
def test_own_files_are_checked(own, name, text, complaint):
    own(name, text)
    with pytest.raises(ConfigError, match=complaint):
        compose("experiment=x", config_dir="own")


def test_missing_directory_is_named(capsys):
    assert main(["--config-dir=nowhere"]) == 2
    assert capsys.readouterr().err == "flowlab: --config-dir=nowhere: there is no such directory\n"


def test_keys_that_an_own_file_does_not_state_need_a_plus(own):
    own("flow/brief", "name: mlp\ndepth: 3\n")
    own("flow/broken", "depth: [1\n")  # nobody chooses it
    with pytest.raises(
        ConfigError, match=r"flow\.rank: a key that the file .* does not state needs a plus: \+flow\.rank="
    ):
        compose("flow=brief", "flow.rank=0", config_dir="own")
    with pytest.raises(
        ConfigError, match=r"flow\.rnak: no such key in flow; did you mean 'rank'\? allowed: depth, rank"
    ):
        compose("flow=brief", "flow.rnak=0", config_dir="own")
    with pytest.raises(ConfigError, match=r"\+flow\.depth=2: the key is there already; leave out the \+"):
        compose("flow=brief", "+flow.depth=2", config_dir="own")
    assert compose("flow=brief", "+flow.rank=0", config_dir="own").flow.rank == 0
