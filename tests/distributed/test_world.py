"""Ranks that something else has started: torchrun here, Slurm in the tests of engines."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from flowlab.training.check import check_run

from flowlab import ConfigError, compose, load_run, train
from flowlab.distributed.world import SINGLE_PROCESS, World

ROOT = Path(__file__).parent.parent.parent
SMALL = ("test_size=500", "validation_size=501", "batch_size=64", "flow.depth=3", "dtype=float64", "max_steps=100")
SMALL = (*SMALL, "trainer.progress=off")


def torchrun(*words, cwd, program=ROOT / "experiments/train.py"):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(program)]
    command += [*SMALL, "trainer=torchrun", "trainer.accelerator=cpu", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def test_rank_r_of_n_takes_the_rows_r_and_every_nth_after():
    rows = torch.arange(7)
    shards = [World(rank, 3).shard(rows) for rank in range(3)]
    assert [shard.tolist() for shard in shards] == [[0, 3, 6], [1, 4], [2, 5]]
    assert torch.equal(SINGLE_PROCESS.all_gather(SINGLE_PROCESS.shard(rows), 7), rows)


def test_under_torchrun_they_train_what_one_does_into_one_directory(tmp_path):
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
    assert done.stdout.count("kl=") == 1, "the first rank speaks for all"
    # It may be started again, as torchrun does with --max-restarts: then there is nothing left to do.
    again = torchrun(f"hydra.run.dir='{directory}'", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert load_run(directory).provenance == both.provenance


def test_a_directory_of_another_run_is_refused_by_all(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/notes.txt").write_text("mine")
    done = torchrun("hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode != 0
    assert f"flowlab: {tmp_path}/run: exists and is not empty" in done.stderr
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_in_one_rank_is_told_whichever_it_is(rank, tmp_path):
    (tmp_path / "planted.py").write_text(
        "import os, sys\n"
        "from flowlab.cli.main import main\n"
        "from flowlab.training.module import FlowModule\n"
        "def fail(*_): raise ValueError('planted')\n"
        f"if os.environ['RANK'] == '{rank}': FlowModule.training_step = fail\n"
        "sys.exit(main())"
    )
    done = torchrun("hydra.run.dir=run", cwd=tmp_path, program=tmp_path / "planted.py")
    assert done.returncode != 0
    status = load_run(tmp_path / "run").status
    assert status["status"] == "failed"
    assert "ValueError: planted" in status["error"]
    assert "flowlab: failed: ValueError: planted" in done.stderr


def test_where_one_rank_is_killed_the_first_says_so_though_torchrun_ends_it(tmp_path):
    (tmp_path / "planted.py").write_text(
        "import os, signal, sys\n"
        "from flowlab.cli.main import main\n"
        "from flowlab.training.module import FlowModule\n"
        "def end(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
        "if os.environ['RANK'] == '1': FlowModule.training_step = end\n"
        "sys.exit(main())"
    )
    done = torchrun("hydra.run.dir=run", cwd=tmp_path, program=tmp_path / "planted.py")
    assert done.returncode != 0
    status = load_run(tmp_path / "run").status
    assert status["status"] == "failed", "it had not ended when torchrun killed it, half a minute after SIGTERM"
    assert status["error"] == "LostRankError: another rank was ended from outside"


def test_all_ranks_may_fail_together(tmp_path):
    done = torchrun("optimizer.lr=1e60", "optimizer.schedule=constant", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode != 0
    assert load_run(tmp_path / "run").status["error"].startswith("DivergedError: the loss is not finite at step")
    assert {path.name for path in (tmp_path / "run").iterdir()} <= {
        *("config.yaml", "metrics.csv", "provenance.json", "status.json", "checkpoints")
    }


@pytest.mark.parametrize(
    ("words", "variables", "message"),
    [
        (["trainer=slurm"], {}, "trainer.launcher=slurm: this process was not started by srun"),
        (["trainer=torchrun"], {}, "trainer.launcher=torchrun: this process was not started by torchrun"),
        (
            ["trainer=slurm", "trainer.devices=3"],
            {"SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS_PER_NODE": "2"},
            "trainer.devices=3, trainer.nodes=1: srun has started 2 processes, 2 on each node",
        ),
        (
            ["trainer=slurm", "trainer.devices=2"],  # sbatch --ntasks=2, which does not say how they are spread
            {"SLURM_STEP_NUM_TASKS": "2"},
            "srun has started 2 processes, 1 on each node; how many there are is said with --ntasks-per-node",
        ),
    ],
)
def test_ranks_that_are_not_there_are_missed(words, variables, message, monkeypatch):
    for name in list(os.environ):
        if name.startswith("SLURM") or name in ("TORCHELASTIC_RUN_ID", "WORLD_SIZE"):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as refused:
        check_run(compose(*words, "trainer.accelerator=cpu"))
    assert message in str(refused.value)


def test_slurm_says_how_many_there_are(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "4")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    trainer = compose("trainer=slurm").trainer
    assert (trainer.devices, trainer.nodes, trainer.processes) == (4, 2, 8)
