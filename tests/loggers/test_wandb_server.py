"""Weights & Biases with a stand-in server: it receives the whole run, and nothing that must stay on the machine."""

import json
import os
import re
import signal
import socket
import subprocess
import sys

import pytest
import wandb_records
import wandb_server
from google.protobuf.text_format import MessageToString
from wandb_shell import KEY, KEY_OF_NETRC, assert_same_table, logged_rows, run_and_signal, shell, without_wandb

from flowlab import load_run


def test_killed_and_resumed_offline_run_has_every_row_once(tmp_path):
    """The session and, after the upload, the server have every row of metrics.csv once."""
    directory = tmp_path / "run"

    def has_written_rows():
        return any(len(wandb_records.history(path)) > 3 for path in wandb_records.sessions(directory))

    words = ("max_steps=4000", "flow.depth=1", "trainer.checkpoint_every=200", f"hydra.run.dir={directory}")
    assert run_and_signal(signal.SIGKILL, *words, cwd=tmp_path, until=has_written_rows) == -signal.SIGKILL
    (first,) = wandb_records.sessions(directory)
    done = shell(f"resume={directory}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = load_run(directory)
    (second,) = wandb_records.sessions(directory)
    assert second != first
    assert wandb_records.run_record(second).run_id == run.provenance["run_id"]
    assert_same_table(logged_rows(run), run)
    command = re.search(r"to upload the run: wandb (sync \S+)", done.stderr)[1]
    with wandb_server.run_server() as server:
        key = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY}
        words = [sys.executable, "-m", "wandb", *command.split()]
        synced = subprocess.run(
            words, cwd=tmp_path, env=without_wandb(tmp_path, **key), capture_output=True, text=True, timeout=120
        )
        assert synced.returncode == 0, synced.stderr
        (uploaded,) = server.runs.values()
        assert_same_table(wandb_records.table(uploaded["history"]), run)
        assert uploaded["exit_code"] == 0
        assert server.file_of("model", "checkpoints/best.ckpt") == (directory / "checkpoints/best.ckpt").read_bytes()


def test_killed_and_resumed_online_run_is_complete_on_the_server(tmp_path):
    """The server has every row, the result and the files."""
    directory = tmp_path / "run"
    words = ("max_steps=3000", "flow.depth=1", "trainer.checkpoint_every=200", "logger.wandb.figures_every=1000")
    words = (*words, f"hydra.run.dir={directory}")
    with wandb_server.run_server() as server:
        key = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY}
        reached = directory / "checkpoints/last.ckpt"
        assert run_and_signal(signal.SIGKILL, *words, cwd=tmp_path, until=reached.exists, **key) == -signal.SIGKILL
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


def test_refusal_of_the_server_is_reported(tmp_path):
    with wandb_server.run_server(refuses=True) as server:
        done = shell("hydra.run.dir=run", cwd=tmp_path, WANDB_BASE_URL=server.url, WANDB_API_KEY=KEY)
    assert done.returncode == 1
    assert "401" in done.stderr
    assert "logger.wandb.mode=offline" in done.stderr


@pytest.mark.parametrize("online", [False, True], ids=["offline", "online"])
def test_no_secret_and_no_host_name_is_written(tmp_path, online):
    home = tmp_path / "home_of_planted"
    home.mkdir()
    (tmp_path / "sitecustomize.py").write_text(
        "import platform, socket\nsocket.gethostname = platform.node = lambda: 'planted-host'\n"
    )
    planted = {"HOME": str(home), "USER": "planted-user", "LOGNAME": "planted-user", "WANDB_API_KEY": KEY}
    planted |= {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    with wandb_server.run_server() as server:
        address = server.url if online else "http://127.0.0.1:9"
        netrc = f"machine 127.0.0.1\n  login user\n  password {KEY_OF_NETRC}\n"
        (home / ".netrc").write_text(netrc)
        words = ("max_steps=100", "logger.wandb.figures_every=50", "hydra.run.dir=run")
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
        return "\n".join(MessageToString(record) for record in wandb_records.records(path))
    return path.read_text()
