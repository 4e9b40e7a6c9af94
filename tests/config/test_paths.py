"""`~` is the home directory wherever a path is given, and an address is refused."""

import sys

import numpy as np
import pytest

import flowlab
from flowlab import ConfigError, compose
from flowlab.cli.main import main
from flowlab.config.paths import local_path
from flowlab.targets import FileTarget

QUICK = ("max_steps=2", "flow.depth=1", "test_size=50", "validation_size=50", "batch_size=8", "trainer.progress=off")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home directory with a file of points, and another working directory."""
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    np.save(tmp_path / "home/points.npy", np.random.default_rng(0).normal(size=(50, 2)))
    return tmp_path / "home"


def test_home_directory_on_the_command_line(home):
    assert main([*QUICK, "target=file", "target.path='~/points.npy'", "hydra.run.dir='~/run'"]) == 0
    assert flowlab.load_run("~/run").config.target.path == str(home / "points.npy")
    (home / "run/status.json").write_text('{"status": "interrupted"}')
    assert main(["resume=~/run"]) == 0
    assert main(["-m", *QUICK, "seed=0,1", "hydra.sweep.dir='~/sweep'"]) == 0
    assert main(["-m", "sweep_resume=~/sweep"]) == 0
    assert len(flowlab.load_sweep("~/sweep")) == 2
    assert not list(home.with_name("work").iterdir())


def test_home_directory_in_python(home):
    config = compose(*QUICK, "target=file", "target.path='~/points.npy'")
    flowlab.train(config, "~/run")
    flowlab.train_many([config], ["~/many"])
    flow = config.flow.build((2,))
    flowlab.fit(flow, np.load(home / "points.npy"), steps=2, directory="~/fit", progress="off")
    assert sorted(path.name for path in home.iterdir()) == ["fit", "many", "points.npy", "run"]
    assert not list(home.with_name("work").iterdir())
    assert FileTarget("~/points.npy").fingerprint == FileTarget(home / "points.npy").fingerprint


@pytest.mark.parametrize("address", ["https://host/points.csv", "s3://bucket/points.parquet", "file:///points.csv"])
def test_address_is_refused_before_torch_is_needed(address, home, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    for words in (
        ["target=file", f"target.path='{address}'"],
        [f"hydra.run.dir='{address}'"],
        ["-m", "seed=0,1", f"hydra.sweep.dir='{address}'"],
        [f"resume={address}"],
        ["-m", f"sweep_resume={address}"],
    ):
        assert main(words) == 2
        error = capsys.readouterr().err
        assert f"={address}: no such file or directory on this machine, and addresses are not read; copy it" in error
    assert "torch" not in sys.modules
    assert not list(home.with_name("work").iterdir())


def test_unknown_home_directory_is_refused():
    with pytest.raises(ConfigError, match="no such home directory; write ./~nobody-here/x for a name that begins"):
        local_path("target.path", "~nobody-here/x")
