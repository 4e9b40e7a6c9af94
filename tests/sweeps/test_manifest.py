"""A sweep: its manifest counts the time, and its runs have the same data to the end."""

import shutil

import numpy as np
import pytest
from summarize import main as summarize

from flowlab import ConfigError, compose, load_sweep, train
from flowlab.cli.main import main
from flowlab.sweeps.manifest import Manifest
from flowlab.sweeps.train_many import train_many


def test_manifest_adds_up_the_time_of_all_sessions(tmp_path):
    Manifest(tmp_path, ["seed=0,1"], [], seconds=12.5).write(2.0)
    again = Manifest.read(tmp_path)
    assert (again.words, again.jobs, again.seconds) == (["seed=0,1"], [], 14.5)
    with pytest.raises(KeyboardInterrupt), again.timed():
        raise KeyboardInterrupt
    assert 14.5 <= Manifest.read(tmp_path).seconds < 15.5


WORDS = ("target=file", "target.path=points.csv", "max_steps=4", "flow.depth=1", "trainer.progress=off")


def write_points(factor):
    points = factor * np.random.default_rng(0).normal(size=(60, 2))
    np.savetxt("points.csv", points, delimiter=",")


@pytest.fixture(autouse=True)
def _change_to_a_new_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_points(1)


@pytest.mark.parametrize("launcher", ["basic", "stacked"])
def test_missing_job_is_not_trained_on_changed_data(launcher, capsys):
    sweep = ("-m", *WORDS, "seed=0,1", f"hydra/launcher={launcher}", "hydra.sweep.dir=sweep")
    assert main(sweep) == 0
    whole = load_sweep("sweep")["nll"]
    shutil.rmtree("sweep/1")
    write_points(2)
    capsys.readouterr()
    for words in (sweep, ("-m", "sweep_resume=sweep")):
        assert main(words) == 2
        assert "points.csv: the file has changed since sweep/0 began" in capsys.readouterr().err
    write_points(1)
    assert main(("-m", "sweep_resume=sweep")) == 0
    assert list(load_sweep("sweep")["nll"]) == pytest.approx(list(whole))


def test_data_may_change_after_a_sweep_is_done():
    assert main(("-m", *WORDS, "seed=0,1", "hydra.sweep.dir=sweep")) == 0
    write_points(2)
    assert main(("-m", "sweep_resume=sweep")) == 0


def test_train_many_refuses_changed_data(tmp_path):
    configs = [compose(*WORDS, f"seed={seed}") for seed in range(2)]
    train_many(configs[:1], [tmp_path / "0"], say=lambda line: None)
    write_points(2)
    with pytest.raises(ConfigError, match=r"points.csv: the file has changed since .*0 began"):
        train_many(configs, [tmp_path / "0", tmp_path / "1"], say=lambda line: None)
    assert not (tmp_path / "1").exists()


def test_summary_reports_data_that_changed_between_runs(capsys):
    for number in range(2):
        train(compose(*WORDS, f"seed={number}"), f"sweep/{number}")
        write_points(2)
    assert summarize(["sweep"]) == 0
    assert "points.csv: has changed meanwhile: not all runs have seen the same data" in capsys.readouterr().err
    shutil.rmtree("sweep/1")
    assert summarize(["sweep"]) == 0
    assert "meanwhile" not in capsys.readouterr().err
