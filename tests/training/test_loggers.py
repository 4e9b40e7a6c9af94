"""Weights & Biases, without its network: the files that it writes offline, and a stand-in for its server."""

import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.pyplot
import pandas
import pytest
import wandb_records
import wandb_server
from google.protobuf.text_format import MessageToString

from flowlab import ConfigError, compose, load_run, train
from flowlab.config import to_dict
from flowlab.sweeps.train import train_many
from flowlab.training.divergence import DivergedError
from flowlab.training.loggers import open_loggers
from flowlab.training.stopping import Preempted
from flowlab.training.wandb_file import history, last_step, mend, records

ROOT = Path(__file__).parents[2]
SMALL = ("test_size=500", "validation_size=500", "batch_size=64", "flow.depth=2", "trainer.progress=off")
DIVERGING = ("optimizer.lr=1e60", "optimizer.schedule=constant", "dtype=float64")
FIGURES = {"samples", "density", "layers", "loss"}
KEY, KEY_OF_NETRC = "0123456789abcdef" * 2 + "01234567", "fedcba9876543210" * 2 + "fedcba98"


def without_wandb(home, **more):
    """The environment as it is where nobody has used Weights & Biases, and where it cannot be reached."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    clean |= {"OMP_NUM_THREADS": "1", "NETRC": "/nonexistent", "HOME": str(home)}
    return clean | {"WANDB_BASE_URL": "http://127.0.0.1:9"} | more


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path_factory):
    environment = without_wandb(tmp_path_factory.getbasetemp())
    for name in os.environ.keys() - environment.keys():
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def command(*words):
    alone = [sys.executable, str(ROOT / "experiments/train.py"), *words]
    return alone if words[0].startswith("resume=") else [*alone, "logger=wandb", *SMALL]


def shell(*words, cwd, **environment):
    """`train.py logger=wandb` as a process of its own."""
    clean = without_wandb(cwd, **environment)
    return subprocess.run(command(*words), cwd=cwd, env=clean, capture_output=True, text=True, timeout=300)


def stopped(signal_number, *words, cwd, until, **environment):
    """The same, stopped by a signal once `until` holds; gives its exit status."""
    clean = without_wandb(cwd, **environment)
    with subprocess.Popen(command(*words), cwd=cwd, env=clean, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not until():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal_number)
        process.communicate(timeout=60)
        return process.returncode


def logged(run):
    """The rows of all sessions of a run, in order."""
    return wandb_records.table([row for path in wandb_records.sessions(run.directory) for row in history(path)])


def assert_same_table(rows, run):
    metrics = run.metrics
    assert set(rows) <= set(metrics), "nothing that metrics.csv does not have"
    rows = rows.reindex(columns=metrics.columns)
    pandas.testing.assert_frame_equal(rows, metrics, check_exact=True, check_dtype=False)


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
    assert wandb_records.config(session) == to_dict(run.config)
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
    code = "from flowlab.training.wandb_run import has_key; print(has_key())"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == f"{machine != 'other.example'}\n", done.stderr


def test_a_killed_run_adds_up(tmp_path):
    """Killed, resumed and uploaded: the rows of metrics.csv, each once, in the files and then on the server."""
    directory = tmp_path / "run"

    def some_is_written():
        return any(len(history(path)) > 3 for path in wandb_records.sessions(directory))

    words = ("max_steps=4000", "flow.depth=1", "trainer.checkpoint_every=200", f"hydra.run.dir={directory}")
    assert stopped(signal.SIGKILL, *words, cwd=tmp_path, until=some_is_written) == -signal.SIGKILL
    (first,) = wandb_records.sessions(directory)
    whole = first.stat().st_size
    with open(first, "ab") as file:
        file.write(bytes.fromhex("00000000") + (500).to_bytes(2, "little") + b"\x01half a record")
    empty = directory / "wandb/offline-run-20000101_000000-empty"
    empty.mkdir()
    (empty / "run-empty.wandb").write_bytes(first.read_bytes()[:7])  # killed before the first second was over
    done = shell(f"resume={directory}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = load_run(directory)
    assert not empty.exists()
    assert first.stat().st_size == whole
    assert len(wandb_records.sessions(directory)) == 2
    identifiers = {wandb_records.run_record(path).run_id for path in wandb_records.sessions(directory)}
    assert identifiers == {run.provenance["run_id"]}
    assert_same_table(logged(run), run)
    told = re.search(r"to upload the run: wandb (sync \S+)", done.stderr)[1]
    with wandb_server.serving() as server:
        key = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY}
        words = [sys.executable, "-m", "wandb", *told.split()]
        synced = subprocess.run(
            words, cwd=tmp_path, env=without_wandb(tmp_path, **key), capture_output=True, text=True, timeout=120
        )
        assert synced.returncode == 0, synced.stderr
        (uploaded,) = server.runs.values()
        assert_same_table(wandb_records.table(uploaded["history"]), run)
        assert uploaded["exit_code"] == 0
        assert server.file_of("model", "checkpoints/best.ckpt") == (directory / "checkpoints/best.ckpt").read_bytes()


def test_online(tmp_path):
    """The real client against the stand-in: killed, resumed, and all that a run has is on the server."""
    directory = tmp_path / "run"
    words = ("max_steps=3000", "flow.depth=1", "trainer.checkpoint_every=200", "logger.figures_every=1000")
    words = (*words, f"hydra.run.dir={directory}")
    with wandb_server.serving() as server:
        key = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY}
        reached = directory / "checkpoints/last.ckpt"
        assert stopped(signal.SIGKILL, *words, cwd=tmp_path, until=reached.exists, **key) == -signal.SIGKILL
        done = shell(f"resume={directory}", cwd=tmp_path, **key)
        assert done.returncode == 0, done.stderr
        run = load_run(directory)
        ((identifier, uploaded),) = server.runs.items()
        assert identifier == run.provenance["run_id"]
        assert f"W&B: {server.url}/someone/flowlab/runs/{identifier}" in done.stderr
        assert "wandb sync" not in done.stderr
        assert_same_table(wandb_records.table(uploaded["history"]), run)
        assert uploaded["exit_code"] == 0
        assert uploaded["program"] == "flowlab-train"
        assert json.loads(server.files[f"{identifier}/wandb-summary.json"]).items() >= run.result.items()
        for kind, file in (("model", "checkpoints/best.ckpt"), ("report", "metrics.csv"), ("report", "result.json")):
            assert server.file_of(kind, file) == (directory / file).read_bytes()
        sent = b"".join(server.files.values()) + json.dumps([server.runs, server.artifacts]).encode()
        for secret in (KEY, str(tmp_path)):
            assert secret.encode() not in sent


def test_a_server_that_refuses_is_named(tmp_path):
    with wandb_server.serving(refuses=True) as server:
        done = shell("hydra.run.dir=run", cwd=tmp_path, WANDB_BASE_URL=server.url, WANDB_API_KEY=KEY)
    assert done.returncode == 1
    assert "401" in done.stderr
    assert "logger.mode=offline" in done.stderr


@pytest.mark.parametrize("online", [False, True], ids=["offline", "online"])
def test_no_secret_and_no_name_of_the_machine_is_written(tmp_path, online):
    home = tmp_path / "home_of_planted"
    home.mkdir()
    (tmp_path / "sitecustomize.py").write_text(
        "import platform, socket\nsocket.gethostname = platform.node = lambda: 'planted-host'\n"
    )
    planted = {"HOME": str(home), "USER": "planted-user", "LOGNAME": "planted-user", "WANDB_API_KEY": KEY}
    planted |= {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    with wandb_server.serving() as server:
        address = server.url if online else "http://127.0.0.1:9"
        netrc = f"machine 127.0.0.1\n  login user\n  password {KEY_OF_NETRC}\n"
        (home / ".netrc").write_text(netrc)
        words = ("max_steps=100", "logger.figures_every=50", "hydra.run.dir=run")
        planted |= {"WANDB_BASE_URL": address, "NETRC": str(home / ".netrc")}
        done = shell(*words, cwd=tmp_path, **planted)
    assert done.returncode == 0, done.stderr
    assert ("wandb sync" in done.stderr) is not online
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        for secret in (KEY, KEY_OF_NETRC, "planted", str(home)):
            assert secret.encode() not in path.read_bytes(), (path, secret)
    theirs = list((tmp_path / "run/wandb").rglob("*"))
    assert not [path for path in theirs if path.is_symlink()]
    host = re.compile(rf"(?<!\w){re.escape(socket.gethostname())}(?!\w)")
    for path in theirs:
        if path.is_file() and path.suffix != ".png":
            assert str(tmp_path).encode() not in path.read_bytes(), path
            assert not host.search(text_of(path)), path


def text_of(path):
    if path.suffix == ".wandb":
        return "\n".join(MessageToString(record) for record, _ in records(path))
    return path.read_text()


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
