"""The command line as real processes: output, files and exit status."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from flowlab import load_run, load_sweep
from flowlab.cli.jobs import expand
from flowlab.cli.main import main

ROOT = Path(__file__).parents[2]
QUICK = ("max_steps=200", "test_size=500", "validation_size=500", "batch_size=64", "flow.depth=2")


def run(*words, cwd, **environment):
    """Run `python experiments/train.py` without a network or an API key."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    clean |= {"OMP_NUM_THREADS": "1", "NETRC": "/nonexistent", "WANDB_BASE_URL": "http://127.0.0.1:9"} | environment
    command = [sys.executable, str(ROOT / "experiments/train.py"), *words]
    return subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, timeout=300)


def list_paths(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_one_run_prints_its_result(tmp_path):
    done = run(*QUICK, "seed=5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (directory,) = (tmp_path / "runs").iterdir()
    assert directory.name.endswith("banana_seed5")
    result = load_run(directory).result
    expected = f"kl={result['kl']:.4f} nll={result['nll']:.4f}+-{result['nll_se']:.4f} nats  runs/{directory.name}"
    assert done.stdout.splitlines()[-1] == expected
    lines = [line for line in done.stderr.splitlines() if line.startswith("step")]
    assert lines[-1].startswith("step 200/200  loss")
    assert "kl" in lines[-1]
    assert "steps/s" in lines[-1]


def test_a_failed_job_does_not_stop_the_others(tmp_path):
    done = run(
        "-m", "optimizer.lr=1e6,0.01", "optimizer.schedule=constant", "trainer.progress=off", *QUICK, cwd=tmp_path
    )
    assert done.returncode == 1
    (sweep,) = (tmp_path / "runs").iterdir()
    assert [load_run(sweep / job).status["status"] for job in ("0", "1")] == ["failed", "done"]
    assert "cannot be inverted any more" in done.stderr
    assert "2 runs: 1 failed, 1 done" in done.stdout
    assert "Traceback" not in done.stderr


def test_tensorboard_events_equal_metrics(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    done = run(*QUICK, "logger=tensorboard", f"hydra.run.dir={tmp_path}/run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    events = EventAccumulator(str(tmp_path / "run/tensorboard"))
    events.Reload()
    metrics = load_run(tmp_path / "run").metrics
    assert [event.step for event in events.Scalars("loss")] == list(metrics["step"])
    assert [event.value for event in events.Scalars("loss")] == pytest.approx(list(metrics["loss"]), rel=1e-6)
    assert "samples" in events.Tags()["images"]


def test_interrupted_run_resumes(tmp_path):
    command = [sys.executable, str(ROOT / "experiments/train.py"), "trainer.progress=off", "hydra.run.dir=run"]
    command += ["max_steps=100000", "flow.depth=1", "batch_size=16", "trainer.checkpoint_every=200"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run/checkpoints/last.ckpt").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "interrupted; continue with resume=run\n" in error
    assert "Traceback" not in error
    stopped = load_run(tmp_path / "run")
    assert stopped.status["status"] == "interrupted"
    # The run saved its last step, which is rarely a multiple of checkpoint_every.
    assert stopped.checkpoint("last")["global_step"] >= max(stopped.metrics["step"])


def test_glob_expands_to_matching_options():
    assert expand(["target=glob(gauss*)"]) == [["target=gaussian"], ["target=gaussian_full"]]


def test_a_resumed_run_ends_at_the_same_bits(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [*QUICK, "trainer.progress=off"]
    assert main([*words, "hydra.run.dir=whole"]) == 0
    assert main([*words, "hydra.run.dir=stopped"]) == 0
    (tmp_path / "stopped/status.json").write_text('{"status": "interrupted"}')
    (tmp_path / "stopped/result.json").unlink()
    (tmp_path / "stopped/checkpoints/last.ckpt").unlink()  # the state before the first checkpoint
    capsys.readouterr()
    assert main(["resume=stopped"]) == 0
    assert capsys.readouterr().out.endswith("nats  stopped\n")
    whole, resumed = (load_run(tmp_path / name).load_flow("last").state_dict() for name in ("whole", "stopped"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert main(["resume=stopped"]) == 2
    assert "done already" in capsys.readouterr().err
    (tmp_path / "stopped/status.json").write_text('{"status": "interrupted"}')
    checkpoint = tmp_path / "stopped/checkpoints/last.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    assert main(["resume=stopped"]) == 2
    assert "last.ckpt: cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["--help", "flow.depth=2 --help", "-m seed=0,1 -h", "resume=runs/none --help"])
def test_help_names_every_option(capsys, words):
    assert main(words.split()) == 0
    said = capsys.readouterr().out
    for word in ("resume=", "jang2018", "reverse_kl", "wandb", "two_moons"):
        assert word in said


def test_configuration_is_printed(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["--cfg", "job", "flow.depth=4"]) == 0
    assert "depth: 4" in capsys.readouterr().out
    assert list_paths(tmp_path) == []


def test_a_named_sweep_is_stacked(tmp_path):
    words = ("-m", "+sweep=depth_rank", "flow.depth=1,2", "flow.rank=0", "seed=0,1", "hydra.sweep.dir=sweep")
    done = run(*words, "max_steps=100", "test_size=500", "validation_size=500", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 jobs: 2 stacks of 2" in done.stderr
    table = load_sweep(tmp_path / "sweep")
    assert list(table["flow.depth"]) == [1, 1, 2, 2]
    assert list(table["seed"]) == [0, 1, 0, 1]
    assert set(table["status"]) == {"done"}


def test_a_failed_job_of_a_stack_is_listed(tmp_path):
    words = ("-m", "hydra/launcher=stacked", "optimizer.lr=1e6,0.01", "hydra.sweep.dir=sweep", *QUICK)
    done = run(*words, "optimizer.schedule=constant", cwd=tmp_path)
    assert done.returncode == 1
    assert "2 jobs: 1 stack of 2" in done.stderr
    assert "DivergedError: training came to its end, but the flow cannot be inverted" in done.stdout
    assert "2 runs: 1 failed, 1 done" in done.stdout
    assert "Traceback" not in done.stderr
    assert list(load_sweep(tmp_path / "sweep")["status"]) == ["failed", "done"]


@pytest.mark.parametrize("name", ["summary.csv", "figures", ".submitit"])
def test_a_sweep_overwrites_no_file(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir() if name != "summary.csv" else (tmp_path / name).write_text("of somebody else")
    assert main(["-m", "seed=0,1", "max_steps=2", "flow.depth=1", "hydra.sweep.dir=."]) == 2
    assert f"holds {name}, which this sweep would overwrite; choose another directory" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("words", [["--help"], ["--cfg", "job"], ["target=nope"]], ids=" ".join)
@pytest.mark.parametrize("closed", ["pipe", "stream"])
def test_closed_output_is_no_error(words, closed):
    """Nothing is said about a pipe that nobody reads, as after `| head -1`, and the exit status stays."""
    reading, writing = os.pipe()
    os.close(reading)
    close = {"preexec_fn": lambda: os.close(1)} if closed == "stream" else {"stdout": writing}
    command = [sys.executable, "-m", "flowlab.cli.main", *words]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60, check=False, **close)
    os.close(writing)
    assert done.returncode == (2 if words == ["target=nope"] else 0)
    assert done.stderr.startswith("flowlab: target=nope: no such option" if done.returncode else "")
    assert done.stderr.count("\n") == bool(done.returncode)


def test_values_of_hydra_name_directories(tmp_path):
    quick = [*QUICK, "max_steps=2"]
    assert run(*quick, "hydra.run.dir=${hydra:runtime.choices.target}_${hydra:job.num}", cwd=tmp_path).returncode == 0
    jobs = ["-m", "seed=3,4", "hydra.sweep.dir=${hydra:job.name}", "hydra.sweep.subdir=${hydra:job.num}_${seed}"]
    assert run(*quick, *jobs, cwd=tmp_path).returncode == 0
    assert (tmp_path / "banana_0/result.json").is_file()
    assert [(tmp_path / "main" / name / "result.json").is_file() for name in ("0_3", "1_4")] == [True, True]


@pytest.mark.parametrize("fail_fast", [True, False])
def test_first_failure_ends_a_sweep_with_fail_fast(tmp_path, monkeypatch, fail_fast):
    monkeypatch.chdir(tmp_path)
    words = ["optimizer.lr=0.01,1e30,0.02", "max_steps=20", "test_size=200", "validation_size=200", "batch_size=32"]
    assert main(["-m", *words, "hydra.sweep.dir=sweep", f"hydra.launcher.fail_fast={fail_fast}"]) == 1
    statuses = list(load_sweep("sweep")["status"])
    assert statuses == ["done", "failed", "not begun" if fail_fast else "done"]


@pytest.mark.parametrize("program", [[str(ROOT / "experiments/train.py")], ["-P", "-m", "flowlab.cli.main"]])
def test_allowed_package_lies_in_the_working_directory(program, tmp_path):
    """`-P` leaves the working directory out of the path, as the installed script does."""
    (tmp_path / "ownflow").mkdir()
    code = "from flowlab.bijectors import LowRankAffine\nclass Own(LowRankAffine): 0"
    (tmp_path / "ownflow/__init__.py").write_text(code)
    words = ["flow=custom", "flow._target_=ownflow.Own", "hydra.run.dir=run", *QUICK[:-1], "max_steps=2"]
    environment = os.environ | {"FLOWLAB_ALLOW": "ownflow", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *program, *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    del environment["FLOWLAB_ALLOW"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert "the package ownflow is not allowed" in done.stderr
