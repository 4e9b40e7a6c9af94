"""Loggers during training: single runs, stacks, several processes, and failures."""

import matplotlib.pyplot
import pytest
import wandb_records
from wandb_shell import SMALL, assert_same_table, logged_rows, shell

from flowlab import compose, load_run, train
from flowlab.sweeps.train_many import train_many
from flowlab.training.divergence import DivergedError

OFFLINE = ("logger=wandb", "logger.wandb.mode=offline")
DIVERGING = ("optimizer.lr=1e60", "optimizer.schedule=constant", "dtype=float64")
FIGURES = {"samples", "density", "layers", "loss"}
TIMED = ["seconds", "steps_per_second"]


pytestmark = pytest.mark.usefixtures("without_wandb_variables")


def steps_with_figures(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.directory / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    return {tag: [event.step for event in events.Images(tag)] for tag in events.Tags()["images"]}


def test_several_loggers_record_the_same_run_without_changing_it(tmp_path):
    """Each logger draws figures at its own steps, and a second run in the same process has its own session."""
    words = (*SMALL, "max_steps=450")
    several = ("logger=[csv,tensorboard,wandb]", "logger.wandb.mode=offline", "logger.wandb.figures_every=150")
    silent = train(compose(*words), tmp_path / "silent")
    shown = [
        train(compose(*words, *several, "logger.tensorboard.figures_every=90", f"seed={seed}"), tmp_path / str(seed))
        for seed in (0, 1)
    ]
    assert silent.metrics.drop(columns=TIMED).equals(shown[0].metrics.drop(columns=TIMED))
    for seed, run in enumerate(shown):
        assert steps_with_figures(run) == {name: [90, 180, 270, 360, 450] for name in FIGURES}
        (session,) = wandb_records.sessions(run.directory)
        assert wandb_records.exit_code(session) == 0
        assert wandb_records.config(session)["seed"] == seed
        assert wandb_records.run_record(session).run_id == run.provenance["run_id"]
        assert_same_table(logged_rows(run), run)
        summary = wandb_records.summary(session)
        assert {name: summary[name] for name in run.result} == run.result
        pictures = wandb_records.pictures(session)
        assert pictures.keys() == {(f"figures/{name}", step) for name in FIGURES for step in (150, 300, 450)}
        for name in FIGURES:
            last = pictures[f"figures/{name}", 450].read_bytes()
            assert last == (run.directory / f"figures/{name}.png").read_bytes()
            assert last != pictures[f"figures/{name}", 150].read_bytes()
    assert matplotlib.pyplot.get_fignums() == []


def test_a_run_that_diverges_ends_as_failed(tmp_path):
    with pytest.raises(DivergedError):
        train(compose(*SMALL, *DIVERGING, *OFFLINE, "max_steps=200"), tmp_path / "run")
    (session,) = wandb_records.sessions(tmp_path / "run")
    assert wandb_records.exit_code(session) == 1


def test_figure_error_does_not_stop_the_run(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("flowlab.plotting.run_figures", lambda *_: 1 / 0)
    run = train(compose(*SMALL, *OFFLINE, "max_steps=100", "logger.wandb.figures_every=50"), tmp_path / "run")
    assert run.done
    assert capfd.readouterr().err.count("could be drawn: division by zero") == 2
    (session,) = wandb_records.sessions(run.directory)
    wandb_records.wait_until_written(session)
    assert wandb_records.summary(session)["nll"] == run.result["nll"]


def test_jobs_of_a_stack_are_runs_of_one_group(tmp_path):
    rates = (("optimizer.lr=0.01",), ("optimizer.lr=1e60",), ("optimizer.lr=0.02",))
    words = (*SMALL, *DIVERGING, *OFFLINE, "max_steps=300", "logger.wandb.figures_every=130")
    runs = train_many(
        [compose(*words, *rate) for rate in rates], [tmp_path / f"sweep/{job}" for job in range(3)], "sweep"
    )
    assert [run.status["status"] for run in runs] == ["done", "failed", "done"]
    sessions = [session for run in runs for session in wandb_records.sessions(run.directory)]
    assert [wandb_records.exit_code(session) for session in sessions] == [0, 1, 0]
    assert [wandb_records.run_record(session).run_group for session in sessions] == ["sweep"] * 3
    assert len({wandb_records.run_record(session).run_id for session in sessions}) == 3
    for run in (runs[0], runs[2]):
        assert_same_table(logged_rows(run), run)
    steps = [{step for _, step in wandb_records.pictures(session)} for session in sessions]
    assert steps == [{130, 260, 300}, set(), {130, 260, 300}]


def test_jobs_of_a_sweep_are_runs_of_one_group(tmp_path):
    words = ("-m", "optimizer.lr=0.01,1e60", "optimizer.schedule=constant", "dtype=float64", "max_steps=200")
    done = shell(*words, "hydra.sweep.dir=runs/sweep", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("wandb sync runs/sweep/") == 2
    sessions = [wandb_records.sessions(tmp_path / "runs/sweep" / job) for job in ("0", "1")]
    assert [wandb_records.exit_code(session) for (session,) in sessions] == [0, 1]
    assert [wandb_records.run_record(session).run_group for (session,) in sessions] == ["sweep"] * 2
    assert not list(tmp_path.glob("wandb")), "nothing is left in the working directory"


def test_two_processes_log_one_run(tmp_path):
    done = shell("trainer=ddp_cpu", "max_steps=200", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (session,) = wandb_records.sessions(tmp_path / "run")
    assert wandb_records.exit_code(session) == 0
    assert_same_table(logged_rows(load_run(tmp_path / "run")), load_run(tmp_path / "run"))
    assert done.stderr.count("wandb sync run/wandb") == 1
