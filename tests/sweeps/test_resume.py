"""A stopped sweep resumes, and a sweep with different jobs is refused."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import summarize

from flowlab import ConfigError, compose, load_run, load_sweep
from flowlab.cli.main import main
from flowlab.flows._assemble import count_costs
from flowlab.sweeps import stack
from flowlab.sweeps.train_many import bytes_of_job, train_many
from flowlab.system.files import lock_directory
from flowlab.targets import Banana

ROOT = Path(__file__).parent.parent.parent
SMALL = ("test_size=500", "validation_size=500", "batch_size=64", "trainer.progress=off")
SWEEP = ("-m", "hydra/launcher=stacked", "flow.depth=1,2", "seed=0,1,2", "max_steps=1000", *SMALL)
SWEEP = (*SWEEP, "trainer.checkpoint_every=50")
TIMES = ["seconds", "steps_per_second", "directory"]


def start(*words, cwd):
    command = [sys.executable, str(ROOT / "experiments/train.py"), *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def load_table(directory):
    return load_sweep(directory).drop(columns=TIMES)


def modification_times(directory):
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.is_file()}


def test_interrupted_sweep_says_how_to_resume(tmp_path):
    process = start(*SWEEP, "max_steps=1000000", "hydra.sweep.dir=sweep", cwd=tmp_path)
    running = [tmp_path / f"sweep/{number}/checkpoints/last.ckpt" for number in (0, 1)]
    while not all(path.exists() for path in running):  # one job of each stack
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "flowlab: interrupted; continue with -m sweep_resume=sweep" in error
    assert "Traceback" not in error
    assert set(load_sweep(tmp_path / "sweep")["status"]) == {"interrupted"}


@pytest.fixture
def sweep_words(tmp_path, monkeypatch, capsys):
    """Run a sweep of two jobs through Hydra's basic launcher and return its command line without a directory."""
    monkeypatch.chdir(tmp_path)
    words = ["-m", "seed=0,1", "max_steps=40", "flow.depth=1", *SMALL]
    assert main([*words, "hydra.sweep.dir=sweep"]) == 0
    capsys.readouterr()
    return words


def test_resume_runs_only_unfinished_jobs(sweep_words, tmp_path, capsys):
    (tmp_path / "sweep/1/status.json").write_text('{"status": "interrupted"}')
    before = modification_times(tmp_path / "sweep/0")
    assert main(["-m", "sweep_resume=sweep"]) == 0
    assert capsys.readouterr().out.count("nats  sweep/") == 1
    assert modification_times(tmp_path / "sweep/0") == before
    assert set(load_sweep("sweep")["status"]) == {"done"}
    # Resume with the same command and directory, but with the other launcher.
    (tmp_path / "sweep/1/status.json").write_text('{"status": "interrupted"}')
    assert main([*sweep_words, "hydra.sweep.dir=sweep", "hydra/launcher=stacked"]) == 0
    assert modification_times(tmp_path / "sweep/0") == before


@pytest.mark.parametrize("launcher", ["basic", "stacked"])
def test_run_killed_before_it_had_a_configuration_starts_again(sweep_words, launcher, tmp_path):
    shutil.rmtree(tmp_path / "sweep/1")
    (tmp_path / "sweep/1").mkdir()
    (tmp_path / "sweep/1/status.json").write_text('{"status": "running"}')
    (tmp_path / "sweep/1/.config.yaml.part").write_text("seed:")
    assert main([*sweep_words, "sweep_resume=sweep", f"hydra/launcher={launcher}"]) == 0
    assert load_run("sweep/1").done
    assert not list((tmp_path / "sweep/1").glob(".*"))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["seed=0,1,2"], "holds a sweep of 2 jobs, and not of 3"),
        (["seed=0,2"], "job 1 has seed=1 there and 2 here"),
        (["seed=0,1", "optimizer.lr=0.5"], "job 0 has optimizer.lr=0.01 there and 0.5 here"),
        (["seed=0,1", "target=two_moons"], "job 0 has target.name='banana' there and 'two_moons' here"),
    ],
)
def test_sweep_with_different_jobs_is_refused(sweep_words, words, complaint, tmp_path, capsys):
    before = modification_times(tmp_path)
    fixed = [word for word in sweep_words if not word.startswith("seed=")]
    assert main([*fixed, *words, "sweep_resume=sweep"]) == 2
    assert complaint in capsys.readouterr().err
    assert modification_times(tmp_path) == before


def test_sweep_locked_by_another_process_is_refused(sweep_words, tmp_path, capsys):
    before = modification_times(tmp_path)
    for directory, what in ((tmp_path / "sweep", "working on this sweep"), (tmp_path / "sweep/1", "training this run")):
        with lock_directory(directory):
            assert main(["-m", "sweep_resume=sweep"]) == 2
        assert f"another process is {what}" in capsys.readouterr().err
        assert modification_times(tmp_path) == before


def test_run_that_cannot_resume_does_not_stop_the_others(tmp_path, capfd):
    configs = [compose(*SMALL, "max_steps=100", "flow.depth=1", f"seed={seed}") for seed in range(3)]
    directories = [tmp_path / str(seed) for seed in range(3)]
    train_many(configs[:2], directories[:2])
    for directory in directories[:2]:
        (directory / "status.json").write_text('{"status": "interrupted"}')
    (directories[0] / "checkpoints/last.ckpt").write_bytes(b"not a checkpoint")
    runs = train_many(configs, directories)
    assert [run.status["status"] for run in runs] == ["failed", "done", "done"]
    assert "last.ckpt: cannot be read: it is damaged" in runs[0].status["error"]


def test_different_run_in_a_job_directory_is_refused(tmp_path):
    config = compose(*SMALL, "max_steps=20", "flow.depth=1")
    train_many([config], [tmp_path / "0"])
    with pytest.raises(ConfigError, match="holds a run of another configuration"):
        train_many([compose(*SMALL, "max_steps=21", "flow.depth=1")], [tmp_path / "0"])


def test_memory_limit_splits_a_stack_without_changing_results(tmp_path, capfd):
    configs = [compose(*SMALL, "max_steps=60", f"seed={seed}") for seed in range(5)]
    together = train_many(configs, [tmp_path / f"together{seed}" for seed in range(5)])
    assert "5 jobs: 1 stack of 5" in capfd.readouterr().out
    job = bytes_of_job(configs[0], Banana(), count_costs(configs[0].flow, (2,)))
    apart = train_many(configs, [tmp_path / f"apart{seed}" for seed in range(5)], memory_gb=2.5 * job / 1e9)
    said = capfd.readouterr().out
    assert "at most 2 of the jobs of flow=mlp in a stack, to stay below 0.0" in said
    assert "5 jobs: 2 stacks of 2, 1 alone" in said
    for first, second in zip(together, apart, strict=True):
        assert first.result["nll"] == second.result["nll"]


def test_killed_process_fails_only_its_jobs(tmp_path, monkeypatch):
    configs = [compose(*SMALL, "max_steps=60", f"flow.depth={depth}", f"seed={s}") for depth in (1, 2) for s in (0, 1)]
    train_stack = stack.train_stack

    def out_of_memory(members, *options):
        if members[0][0].config.flow.depth == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        train_stack(members, *options)

    monkeypatch.setattr(stack, "train_stack", out_of_memory)
    runs = train_many(configs, [tmp_path / str(number) for number in range(4)], processes=2)
    assert [run.status["status"] for run in runs] == ["done", "done", "failed", "failed"]
    assert "was killed" in runs[3].status["error"]


def test_job_that_has_not_begun_is_listed(sweep_words, tmp_path, capsys):
    shutil.rmtree(tmp_path / "sweep/1")
    table = load_sweep("sweep")
    assert list(table["status"]) == ["done", "not begun"]
    assert list(table["seed"]) == [0, 1]
    assert summarize.main(["sweep"]) == 1
    assert "1 done, 1 not begun" in capsys.readouterr().out


def test_job_that_cannot_begin_records_its_error(sweep_words, tmp_path, monkeypatch, capsys):
    from flowlab.training import resume, train

    def full(*_):
        raise ConfigError("the disk is full")

    shutil.rmtree(tmp_path / "sweep/1")
    for launcher in ("basic", "stacked"):
        with monkeypatch.context() as patch:
            for module in (train, resume):  # a job of its own, and jobs of a stack
                patch.setattr(module, "begin", full)
            assert main([*sweep_words, "sweep_resume=sweep", f"hydra/launcher={launcher}"]) != 0
        table = load_sweep("sweep")
        assert list(table["status"]) == ["done", "failed"]
        assert table["error"][1] == "ConfigError: the disk is full"
    assert main(["-m", "sweep_resume=sweep"]) == 0


def test_directory_name_with_special_characters_resumes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    name = "it's, a=b"
    quoted = name.replace("'", "\\'")
    assert main(["-m", "seed=0,1", "max_steps=20", "flow.depth=1", *SMALL, f"hydra.sweep.dir='{quoted}'"]) == 0
    (tmp_path / name / "1/status.json").write_text('{"status": "interrupted"}')
    assert main(["-m", f"sweep_resume={name}"]) == 0
    assert set(load_sweep(name)["status"]) == {"done"}
