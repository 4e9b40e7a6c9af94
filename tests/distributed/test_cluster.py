"""Ranks that torchrun has started; tests/engines has the tests with Slurm."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from flowlab import ConfigError, compose, load_run, train
from flowlab.training.build import check

ROOT = Path(__file__).parent.parent.parent
SMALL = ("test_size=500", "validation_size=501", "batch_size=64", "flow.depth=3", "dtype=float64", "max_steps=100")
SMALL = (*SMALL, "trainer.progress=off")


def torchrun(*words, cwd, program=ROOT / "experiments/train.py"):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(program)]
    command += [*SMALL, "trainer=torchrun", "trainer.accelerator=cpu", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def test_two_ranks_under_torchrun_train_the_same_weights_as_one_process(tmp_path):
    done = torchrun(cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (directory,) = (tmp_path / "runs").iterdir()
    both, alone = load_run(directory), train(compose(*SMALL), tmp_path / "alone")
    assert both.config.trainer.devices == 2
    for name, tensor in alone.flow.state_dict().items():
        torch.testing.assert_close(both.flow.state_dict()[name], tensor, rtol=1e-10, atol=1e-10)
    for column in ("loss", "nll", "nll_se", "kl", "inverse_error"):
        pairs = zip(both.metrics[column].dropna(), alone.metrics[column].dropna(), strict=True)
        assert all(first == pytest.approx(second, rel=1e-9, abs=1e-13) for first, second in pairs), column
    assert done.stdout.count("kl=") == 1, "only rank 0 prints"
    # torchrun --max-restarts starts the same command again; then nothing is left to do.
    again = torchrun(f"hydra.run.dir='{directory}'", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert load_run(directory).provenance == both.provenance


def test_all_ranks_refuse_a_directory_that_is_not_empty(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/notes.txt").write_text("mine")
    done = torchrun("hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode != 0
    assert "flowlab: run: exists and is not empty" in done.stderr
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_in_any_rank_is_recorded(rank, tmp_path):
    (tmp_path / "planted.py").write_text(
        "import os, sys\n"
        "from flowlab.cli.main import main\n"
        "from flowlab.training.loop import Loop\n"
        "def fail(*_): raise ValueError('planted')\n"
        f"if os.environ['RANK'] == '{rank}': Loop._call = fail\n"
        "sys.exit(main())"
    )
    done = torchrun("hydra.run.dir=run", cwd=tmp_path, program=tmp_path / "planted.py")
    assert done.returncode != 0
    status = load_run(tmp_path / "run").status
    assert status["status"] == "failed"
    assert "ValueError: planted" in status["error"]
    assert "flowlab: failed: ValueError: planted" in done.stderr


def test_rank_zero_records_that_a_rank_was_killed_before_torchrun_kills_it(tmp_path):
    (tmp_path / "planted.py").write_text(
        "import os, signal, sys\n"
        "from flowlab.cli.main import main\n"
        "from flowlab.training.loop import Loop\n"
        "def end(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
        "if os.environ['RANK'] == '1': Loop._call = end\n"
        "sys.exit(main())"
    )
    done = torchrun("hydra.run.dir=run", cwd=tmp_path, program=tmp_path / "planted.py")
    assert done.returncode != 0
    status = load_run(tmp_path / "run").status
    assert status["status"] == "failed", "torchrun killed rank 0, half a minute after SIGTERM"
    assert status["error"] == "LostRankError: another rank was ended from outside"


def test_all_ranks_can_fail_at_the_same_step(tmp_path):
    done = torchrun("optimizer.lr=1e60", "optimizer.schedule=constant", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode != 0
    assert load_run(tmp_path / "run").status["error"].startswith("DivergedError: the loss is not finite at step")
    assert {path.name for path in (tmp_path / "run").iterdir()} <= {
        *("config.yaml", "metrics.csv", "provenance.json", "status.json", "checkpoints")
    }


@pytest.mark.parametrize(
    ("words", "variables", "message"),
    [
        (["trainer=slurm"], {}, "trainer.launcher=slurm: srun did not start this process; run `srun ... python"),
        (["trainer=torchrun"], {}, "trainer.launcher=torchrun: torchrun did not start this process"),
        (
            ["trainer=slurm", "trainer.devices=3"],
            {"SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS_PER_NODE": "2"},
            "trainer.devices=3, trainer.nodes=1: srun has started 2 processes, 2 on each node",
        ),
        (
            ["trainer=slurm", "trainer.devices=2"],  # sbatch --ntasks=2 alone does not set the tasks of a node
            {"SLURM_STEP_NUM_TASKS": "2"},
            "srun has started 2 processes, 1 on each node; set their number with --ntasks-per-node",
        ),
    ],
)
def test_a_wrong_launcher_or_number_of_ranks_is_refused(words, variables, message, monkeypatch):
    for name in list(os.environ):
        if name.startswith("SLURM") or name in ("TORCHELASTIC_RUN_ID", "WORLD_SIZE"):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as refused:
        check(compose(*words, "trainer.accelerator=cpu"))
    assert message in str(refused.value)


def test_slurm_sets_the_number_of_ranks(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "4")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    trainer = compose("trainer=slurm").trainer
    assert (trainer.devices, trainer.nodes, trainer.processes) == (4, 2, 8)
