"""Weights & Biases without its network: the files that it writes offline hold what a run has."""

import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot
import pytest
import wandb_records
from wandb_shell import KEY_OF_NETRC, SMALL, assert_same_table, logged, shell, stopped, without_wandb

from flowlab import ConfigError, compose, load_run, train
from flowlab.loggers.open import open_loggers
from flowlab.loggers.wandb_file import last_step, mend, records
from flowlab.sweeps.train_many import train_many
from flowlab.system.signals import Preempted
from flowlab.training.divergence import DivergedError

DIVERGING = ("optimizer.lr=1e60", "optimizer.schedule=constant", "dtype=float64")
FIGURES = {"samples", "density", "layers", "loss"}


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path_factory):
    environment = without_wandb(tmp_path_factory.getbasetemp())
    for name in os.environ.keys() - environment.keys():
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def surroundings():
    return dict(os.environ), logging.getLogger("wandb").level, Path.cwd(), matplotlib.pyplot.get_fignums()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two runs after another in one process, and what they left of it."""
    directory = tmp_path_factory.mktemp("pair")
    patch = pytest.MonkeyPatch()
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        patch.delenv(name)
    patch.setenv("NETRC", "/nonexistent")
    patch.setenv("HOME", str(directory))
    before = surroundings()
    words = (*SMALL, "logger=wandb", "logger.mode=offline", "logger.tags=[first,second]", "max_steps=450")
    words = (*words, "logger.figures_every=150")
    runs = [train(compose(*words, f"seed={seed}"), directory / str(seed), group="pair") for seed in (0, 1)]
    after = surroundings()
    patch.undo()
    return runs, before, after


@pytest.fixture
def pair(trained):
    return trained[0]


@pytest.fixture
def run(pair):
    return pair[0]


@pytest.fixture
def session(run):
    (path,) = wandb_records.sessions(run.directory)
    return path


def test_two_runs_in_one_process_do_not_mix(pair):
    for seed, run in enumerate(pair):
        (path,) = wandb_records.sessions(run.directory)
        assert wandb_records.config(path)["seed"] == seed
        assert wandb_records.run_record(path).run_id == run.provenance["run_id"]
        assert_same_table(logged(run), run)
    assert pair[0].provenance["run_id"] != pair[1].provenance["run_id"]


def test_the_process_is_left_as_it_was(trained):
    _, before, after = trained
    assert before == after


def test_what_is_known_of_a_run(run, session):
    record = wandb_records.run_record(session)
    assert (record.project, record.job_type, record.run_group) == ("flowlab", "train", "pair")
    assert record.display_name == "0_banana_seed0"
    assert list(record.tags) == ["first", "second"]
    assert wandb_records.config(session) == run.config.to_dict()
    assert wandb_records.exit_code(session) == 0


def test_the_summary_is_the_result(run, session):
    summary = wandb_records.summary(session)
    assert {name: summary[name] for name in run.result} == run.result
    assert not [name for name in summary if name.startswith("figures")]


def test_figures_are_pictures_with_their_steps(run, session):
    pictures = wandb_records.pictures(session)
    assert pictures.keys() == {(f"figures/{name}", step) for name in FIGURES for step in (150, 300, 450)}
    for name in FIGURES:
        last = pictures[f"figures/{name}", 450].read_bytes()
        assert last == (run.directory / f"figures/{name}.png").read_bytes()
        assert last != pictures[f"figures/{name}", 150].read_bytes()
    assert matplotlib.pyplot.get_fignums() == []


def test_the_best_checkpoint_and_the_report_are_artifacts(run, session):
    artifacts = {artifact.type: artifact for artifact in wandb_records.of_kind(session, "artifact")}
    files = {kind: {entry.path: entry for entry in artifacts[kind].manifest.contents} for kind in artifacts}
    assert files["model"].keys() == {"checkpoints/best.ckpt"}
    pictures = {f"figures/{name}.png" for name in FIGURES}
    assert files["report"].keys() == {"result.json", "config.yaml", "metrics.csv", *pictures}
    for name, entry in (files["model"] | files["report"]).items():
        assert not Path(entry.local_path).is_absolute()
        assert Path(entry.local_path).resolve() == run.directory.resolve() / name
        assert entry.size == (run.directory / name).stat().st_size
    home = run.directory.parent
    assert not list(home.rglob("artifacts")), "nothing is copied into the home directory"


def test_a_run_that_diverges_ends_as_failed(tmp_path):
    with pytest.raises(DivergedError):
        train(compose(*SMALL, *DIVERGING, "logger=wandb", "logger.mode=offline", "max_steps=200"), tmp_path / "run")
    (path,) = wandb_records.sessions(tmp_path / "run")
    assert wandb_records.exit_code(path) == 1


def test_an_interrupted_run_ends_as_stopped(tmp_path):
    directory = tmp_path / "run"
    reached = directory / "checkpoints/last.ckpt"
    words = ("max_steps=100000", "trainer.checkpoint_every=100", f"hydra.run.dir={directory}")
    assert stopped(signal.SIGINT, *words, cwd=tmp_path, until=reached.exists) == 130
    (path,) = wandb_records.sessions(directory)
    assert wandb_records.exit_code(path) == 255
    assert_same_table(logged(load_run(directory)), load_run(directory))


def test_a_preempted_run_says_so(tmp_path, run):
    """What `train` does when a scheduler asks for the machine, from the moment when training has stopped."""
    directory = shutil.copytree(run.directory, tmp_path / "run", ignore=shutil.ignore_patterns("wandb"))
    with pytest.raises(Preempted), open_loggers(load_run(directory)):
        raise Preempted
    (path,) = wandb_records.sessions(directory)
    wandb_records.wait_until_written(path)
    assert len(wandb_records.of_kind(path, "preempting")) == 1
    assert wandb_records.exit_code(path) == 255


def test_what_is_drawn_meanwhile_changes_no_number(run, tmp_path):
    words = ("logger=tensorboard", "max_steps=450")
    silent = train(compose(*SMALL, *words, "logger.figures_every=null"), tmp_path / "silent")
    shown = train(compose(*SMALL, *words, "logger.figures_every=90"), tmp_path / "shown")
    timed = ["seconds", "steps_per_second"]
    for other in (shown, run):
        assert silent.metrics.drop(columns=timed).equals(other.metrics.drop(columns=timed))
    assert shown_steps(silent) == {name: [450] for name in FIGURES}
    assert shown_steps(shown) == {name: [90, 180, 270, 360, 450] for name in FIGURES}
    assert matplotlib.pyplot.get_fignums() == []


def shown_steps(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.directory / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    return {tag: [event.step for event in events.Images(tag)] for tag in events.Tags()["images"]}


def test_what_cannot_be_drawn_meanwhile_costs_no_run(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("flowlab.plotting.run_figures", lambda *_: 1 / 0)
    words = ("logger=wandb", "logger.mode=offline", "max_steps=100", "logger.figures_every=50")
    run = train(compose(*SMALL, *words), tmp_path / "run")
    assert run.done
    assert capfd.readouterr().err.count("could be drawn: division by zero") == 2
    (path,) = wandb_records.sessions(run.directory)
    assert wandb_records.summary(path)["nll"] == run.result["nll"]


def test_jobs_of_a_stack_are_runs_of_one_group(tmp_path):
    words = ("logger=wandb", "logger.mode=offline", "max_steps=300")
    rates = (("optimizer.lr=0.01", "logger.figures_every=130"), ("optimizer.lr=1e60",), ("optimizer.lr=0.02",))
    configs = [compose(*SMALL, *DIVERGING, *words, *rate) for rate in rates]
    runs = train_many(configs, [tmp_path / f"sweep/{job}" for job in range(3)], group="sweep")
    assert [run.status["status"] for run in runs] == ["done", "failed", "done"]
    paths = [path for run in runs for path in wandb_records.sessions(run.directory)]
    assert [wandb_records.exit_code(path) for path in paths] == [0, 1, 0]
    assert [wandb_records.run_record(path).run_group for path in paths] == ["sweep"] * 3
    assert len({wandb_records.run_record(path).run_id for path in paths}) == 3
    for run in (runs[0], runs[2]):
        assert_same_table(logged(run), run)
    steps = [{step for _, step in wandb_records.pictures(path)} for path in paths]
    assert steps == [{130, 260, 300}, set(), {300}]


def test_jobs_of_a_sweep_are_runs_of_one_group(tmp_path):
    words = ("-m", "optimizer.lr=0.01,1e60", "optimizer.schedule=constant", "dtype=float64", "max_steps=200")
    done = shell(*words, "hydra.sweep.dir=runs/sweep", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("wandb sync runs/sweep/") == 2
    sessions = [wandb_records.sessions(tmp_path / "runs/sweep" / job) for job in ("0", "1")]
    paths = [path for (path,) in sessions]
    assert [wandb_records.exit_code(path) for path in paths] == [0, 1]
    assert [wandb_records.run_record(path).run_group for path in paths] == ["sweep"] * 2
    assert not list(tmp_path.glob("wandb")), "nothing is left in the working directory"


def test_two_processes_are_one_run(tmp_path):
    done = shell("trainer=ddp_cpu", "max_steps=200", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (path,) = wandb_records.sessions(tmp_path / "run")
    assert wandb_records.exit_code(path) == 0
    assert_same_table(logged(load_run(tmp_path / "run")), load_run(tmp_path / "run"))
    assert done.stderr.count("wandb sync run/wandb") == 1


def test_offline_by_itself_and_not_at_all(tmp_path, capfd, monkeypatch):
    train(compose(*SMALL, "logger=wandb", "max_steps=20"), tmp_path / "offline")
    assert capfd.readouterr().err.count(f"wandb sync {tmp_path}/offline/wandb\n") == 1
    assert len(wandb_records.sessions(tmp_path / "offline")) == 1
    train(compose(*SMALL, "logger=wandb", "max_steps=20", "logger.mode=disabled"), tmp_path / "disabled")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    train(compose(*SMALL, "logger=wandb", "max_steps=20"), tmp_path / "by_environment")
    for name in ("disabled", "by_environment"):
        assert load_run(tmp_path / name).done
        assert not (tmp_path / name / "wandb").exists()
    assert "W&B" not in capfd.readouterr().err
    with pytest.raises(ConfigError, match=r"logger\.mode='never'"):
        compose("logger=wandb", "logger.mode=never")


@pytest.mark.parametrize("machine", ["api.forge.coreweave.com", "api.wandb.ai", "other.example"])
def test_a_key_of_wandb_login_is_found(tmp_path, machine):
    """As this and the older versions write it; a fresh process, since W&B reads its settings once."""
    (tmp_path / "netrc").write_text(f"machine {machine}\n  login user\n  password {KEY_OF_NETRC}\n")
    environment = without_wandb(tmp_path, NETRC=str(tmp_path / "netrc"))
    del environment["WANDB_BASE_URL"]
    code = "from flowlab.loggers.wandb import has_key; print(has_key())"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout == f"{machine != 'other.example'}\n", done.stderr


def test_the_reader_stops_where_a_file_is_damaged(session, tmp_path):
    copy = shutil.copytree(session.parent, tmp_path / "wandb/offline-run-1-x") / session.name
    identifier = session.stem.removeprefix("run-")
    content = copy.read_bytes()
    assert last_step(tmp_path / "wandb", identifier) == 450
    ends = [end for _, end in records(copy)]
    assert ends[-1] == len(content)
    copy.write_bytes(content[: ends[-1] - 1])
    mend(tmp_path / "wandb")
    assert copy.read_bytes() == content[: ends[-2]]
    copy.write_bytes(content[:7])
    assert last_step(tmp_path / "wandb", identifier) == 0
    mend(tmp_path / "wandb")
    assert not copy.parent.exists()
