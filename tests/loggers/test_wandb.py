"""Weights & Biases without a network: its offline sessions hold the contents of the run directory."""

import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot
import pytest
import wandb_records
import wandb_server
from loggers.stub_run import log_rows, stub_run
from matplotlib.figure import Figure
from wandb_shell import KEY, assert_same_table, logged_rows

from flowlab.loggers.base import log_figures, log_outcome, open_loggers
from flowlab.system.process import Preempted

WORDS = ("logger=wandb", "logger.wandb.mode=offline")
RESULT = {"steps": 400, "nll": 4.25, "kl": 0.125, "weights": "last"}


@pytest.fixture(autouse=True)
def _isolate_environment(without_wandb_variables, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # `wandb sync` writes its log into the working directory


@pytest.fixture
def run(tmp_path):
    return stub_run(tmp_path / "run", *WORDS, "logger.wandb.tags=[first,second]")


@pytest.fixture
def figures():
    return {"samples": Figure(), "density": Figure()}


def finish(run, sinks, figures=None):
    """Write the files of a finished run and log its outcome."""
    (run.directory / "checkpoints").mkdir(exist_ok=True)
    (run.directory / "checkpoints/last.ckpt").write_bytes(b"weights")
    (run.directory / "config.yaml").write_text(json.dumps(run.config.to_dict()))
    (run.directory / "result.json").write_text(json.dumps(RESULT))
    log_outcome(sinks, RESULT, figures or {})


def log_session(run, steps, error=None, figures=None):
    """Run a session that logs steps and figures, until the run is done or an error ends it."""
    ending = pytest.raises(type(error)) if error else contextlib.nullcontext()
    with ending, open_loggers(run) as sinks:
        log_rows(sinks, steps)
        log_figures(sinks, figures or {}, steps[-1])
        if error:
            raise error
        finish(run, sinks)


KILLED = """
import os, sys, time, json
from pathlib import Path
import wandb_records
from loggers.stub_run import log_rows, stub_run
from flowlab.loggers.base import open_loggers

directory, steps, *words = sys.argv[1:]
run = stub_run(Path(directory), *words)
with open_loggers(run) as sinks:
    log_rows(sinks, json.loads(steps))
    print("logged", flush=True)
    sys.stdin.read()
"""


def kill_session(run, steps, **environment):
    """Run a session in a separate process, kill it when some of its rows are on disk, and return its file."""
    words = [*WORDS, f"logger.wandb.mode={run.config.logger['wandb'].mode}"]
    command = [sys.executable, "-c", KILLED, str(run.directory), json.dumps(list(steps)), *words]
    before = set(wandb_records.sessions(run.directory))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "logged\n"
        (session,) = set(wandb_records.sessions(run.directory)) - before
        while not wandb_records.history(session):
            assert process.poll() is None
        process.kill()
        process.communicate()
    return session


def sync(run, server):
    command = [sys.executable, "-m", "wandb", "sync", str(run.directory / "wandb")]
    environment = os.environ | {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (uploaded,) = server.runs.values()
    return wandb_records.table(uploaded["history"])


def test_session_holds_the_whole_run(run, figures, capfd):
    surroundings = dict(os.environ), logging.getLogger("wandb").level, Path.cwd()
    with open_loggers(run) as sinks:
        log_rows(sinks, [100, 200])
        log_figures(sinks, figures, 200)
        log_rows(sinks, [300, 400])
        finish(run, sinks, figures)
    (session,) = wandb_records.sessions(run.directory)
    assert wandb_records.exit_code(session) == 0
    assert_same_table(logged_rows(run), run)
    record = wandb_records.run_record(session)
    assert (record.run_id, record.project, record.job_type) == ("abcd1234", "flowlab", "train")
    assert (record.display_name, list(record.tags)) == ("banana_seed0", ["first", "second"])
    assert wandb_records.config(session) == run.config.to_dict()
    summary = wandb_records.summary(session)
    assert {name: summary[name] for name in RESULT} == RESULT
    assert not [name for name in summary if name.startswith("figures")]
    pictures = wandb_records.pictures(session)
    assert pictures.keys() == {(f"figures/{name}", step) for name in figures for step in (200, 400)}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures.values())
    assert surroundings == (dict(os.environ), logging.getLogger("wandb").level, Path.cwd())
    assert matplotlib.pyplot.get_fignums() == []
    assert "to upload the run: wandb sync run/wandb\n" in capfd.readouterr().err


def test_the_checkpoint_and_the_report_are_artifacts(run):
    (run.directory / "checkpoints").mkdir()
    (run.directory / "checkpoints/best.ckpt").write_bytes(b"better weights")
    (run.directory / "figures").mkdir()
    (run.directory / "figures/loss.png").write_bytes(b"a picture")
    log_session(run, [100])
    (session,) = wandb_records.sessions(run.directory)
    wandb_records.wait_until_written(session)
    artifacts = {artifact.type: artifact for artifact in wandb_records.of_kind(session, "artifact")}
    files = {kind: {entry.path: entry for entry in artifacts[kind].manifest.contents} for kind in artifacts}
    assert files["model"].keys() == {"checkpoints/best.ckpt"}
    assert files["report"].keys() == {"result.json", "config.yaml", "metrics.csv", "figures/loss.png"}
    for name, entry in (files["model"] | files["report"]).items():
        assert not Path(entry.local_path).is_absolute()
        assert Path(entry.local_path).resolve() == run.directory.resolve() / name
        assert entry.size == (run.directory / name).stat().st_size
    assert not list(run.directory.parent.rglob("artifacts")), "nothing is copied into the home directory"


@pytest.mark.parametrize(
    ("error", "code", "preempting"), [(RuntimeError(), 1, 0), (KeyboardInterrupt(), 255, 0), (Preempted(), 255, 1)]
)
def test_session_records_how_the_run_ended(run, error, code, preempting):
    log_session(run, [100], error)
    (session,) = wandb_records.sessions(run.directory)
    assert wandb_records.exit_code(session) == code
    assert len(wandb_records.of_kind(session, "preempting")) == preempting


@pytest.mark.parametrize(("error", "code"), [(RuntimeError, 1), (KeyboardInterrupt, 255)])
def test_a_session_that_ends_during_the_replay_is_finished(run, error, code, monkeypatch):
    def rows(path, step):
        raise error

    monkeypatch.setattr("flowlab.loggers._wandb.rows_after", rows)
    with pytest.raises(error), open_loggers(run):
        pass
    (session,) = wandb_records.sessions(run.directory)
    assert wandb_records.exit_code(session) == code


def test_interrupted_run_resumes_in_a_second_session(run, figures):
    log_session(run, [100, 200], KeyboardInterrupt(), figures)
    log_session(run, [200, 300, 400])
    first, second = wandb_records.sessions(run.directory)
    wandb_records.wait_until_written(second)
    assert [row["_step"] for row in wandb_records.history(first)] == [100, 200]
    assert_same_table(logged_rows(run), run)
    with wandb_server.run_server() as server:
        assert_same_table(sync(run, server), run)
        assert len([row for row in server.runs["abcd1234"]["history"] if "figures/samples" in row]) == 1
        assert server.runs["abcd1234"]["exit_code"] == 0


@pytest.mark.parametrize("before", [None, KeyboardInterrupt()], ids=["alone", "after one that was interrupted"])
@pytest.mark.parametrize("synced", [False, True], ids=["not uploaded", "uploaded before"])
def test_killed_and_resumed_run_has_every_row_once(run, before, synced):
    """After kill -9 and resume, `wandb sync` gives one run with every row once, even if it uploaded rows before."""
    if before:
        log_session(run, [100, 200], before)
    killed = kill_session(run, range(300, 700, 100))
    with open(killed, "ab") as file:  # half a record, which would stop `wandb sync`
        file.write(bytes.fromhex("00000000") + (500).to_bytes(2, "little") + b"\x01half a record")
    with wandb_server.run_server() as server:
        if synced:
            sync(run, server)
        log_session(run, range(500, 1000, 100))
        assert not killed.exists()
        (session,) = wandb_records.sessions(run.directory)
        wandb_records.wait_until_written(session)
        assert_same_table(logged_rows(run), run)
        assert_same_table(sync(run, server), run)
        assert server.runs.keys() == {"abcd1234"}
        assert server.runs["abcd1234"]["exit_code"] == 0


def test_failed_and_resumed_run_has_every_row_once(run):
    """The session may lack the last rows before the failure, as after a full disk."""
    log_session(run, [100, 200], RuntimeError())
    log_session(run, [300])
    (session,) = wandb_records.sessions(run.directory)
    wandb_records.wait_until_written(session)
    assert_same_table(logged_rows(run), run)


def test_jobs_of_a_sweep_are_one_group(tmp_path):
    run = stub_run(tmp_path / "7", *WORDS)
    run.provenance["group"] = "sweep"
    log_session(run, [100])
    (session,) = wandb_records.sessions(run.directory)
    wandb_records.wait_until_written(session)
    record = wandb_records.run_record(session)
    assert (record.run_group, record.display_name) == ("sweep", "7_banana_seed0")


def test_default_mode_is_offline_and_disabled_mode_writes_nothing(tmp_path, capfd, monkeypatch):
    log_session(stub_run(tmp_path / "by_itself", "logger=wandb"), [100])
    assert len(wandb_records.sessions(tmp_path / "by_itself")) == 1
    assert "wandb sync" in capfd.readouterr().err
    log_session(stub_run(tmp_path / "disabled", "logger=wandb", "logger.wandb.mode=disabled"), [100])
    monkeypatch.setenv("WANDB_MODE", "disabled")
    log_session(stub_run(tmp_path / "by_environment", "logger=wandb"), [100])
    for name in ("disabled", "by_environment"):
        assert not (tmp_path / name / "wandb").exists()
    assert "W&B" not in capfd.readouterr().err


def test_the_reader_stops_where_a_file_is_damaged(run, tmp_path):
    """The other tests rely on this reader."""
    log_session(run, [100])
    (session,) = wandb_records.sessions(run.directory)
    wandb_records.wait_until_written(session)
    copy, count = tmp_path / "copy.wandb", len(list(wandb_records.records(session)))
    shutil.copy(session, copy)
    copy.write_bytes(copy.read_bytes()[:-1])
    assert len(list(wandb_records.records(copy))) == count - 1
    copy.write_bytes(copy.read_bytes()[:7])
    assert list(wandb_records.records(copy)) == []
