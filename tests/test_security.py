"""Attacks through a stranger's run or sweep; each payload would work without the protection."""

import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import summarize
import torch
import yaml

import flowlab
from flowlab.cli.main import main

ROOT = Path(__file__).parent.parent
QUICK = ("max_steps=40", "test_size=200", "validation_size=200", "batch_size=32", "flow.depth=1")
QUICK = (*QUICK, "trainer.progress=off")


@pytest.fixture(scope="module")
def unfinished_directories(tmp_path_factory):
    """An unfinished run and an unfinished sweep of two runs, as from a stranger."""
    root = tmp_path_factory.mktemp("stranger")
    flowlab.train(flowlab.compose(*QUICK), root / "run")
    assert main(["-m", *QUICK, "seed=0,1", f"hydra.sweep.dir={root}/sweep"]) == 0
    for run in (root / "run", root / "sweep/0", root / "sweep/1"):
        (run / "status.json").write_text('{"status": "interrupted"}')
        (run / "result.json").unlink()
    return root


@pytest.fixture
def stranger(unfinished_directories, tmp_path, monkeypatch):
    """Copies of the unfinished directories, and a module on the path whose code creates a file."""
    shutil.copytree(unfinished_directories, tmp_path / "stranger")
    module = f"from pathlib import Path\ndef call(*args, **keywords): Path({str(tmp_path / 'mark')!r}).touch()\n"
    (tmp_path / "payload.py").write_text(module + "call()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "stranger"
    sys.modules.pop("payload", None)
    assert not (tmp_path / "mark").exists()


class Payload:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def read_files(directory):
    return {path: path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("weights", ["last", "best"])
@pytest.mark.parametrize("legacy", [False, True])
def test_pickle_in_a_checkpoint_is_refused(weights, legacy, stranger, tmp_path, capsys):
    content = torch.load(stranger / f"run/checkpoints/{weights}.ckpt", weights_only=True)
    content["callbacks"] = Payload(tmp_path / "mark")
    for run in (stranger / "run", stranger / "sweep/0"):
        torch.save(content, run / f"checkpoints/{weights}.ckpt", _use_new_zipfile_serialization=not legacy)
        with pytest.raises(flowlab.ConfigError, match=f"{weights}.ckpt: cannot be read"):
            flowlab.load_run(run).load_flow(weights)
        (run / "result.json").write_text(json.dumps({"weights": weights, "nll": 1.0, "nll_se": 0.1}))
        with pytest.raises(flowlab.ConfigError, match="cannot be read"):
            _ = flowlab.load_run(run).flow
    flowlab.load_sweep(stranger / "sweep")
    (stranger / "sweep/0/status.json").write_text('{"status": "done"}')
    summarize.main([str(stranger / "sweep")])
    (stranger / "sweep/0/status.json").write_text('{"status": "interrupted"}')
    if weights == "last":
        assert main([f"resume={stranger}/run"]) == 2
        assert "last.ckpt: cannot be read" in capsys.readouterr().err
        assert main(["-m", f"sweep_resume={stranger}/sweep"]) == 2
        assert flowlab.load_run(stranger / "sweep/1").done


def test_pickle_in_a_data_file_is_refused(stranger, tmp_path, capsys):
    import numpy as np

    np.save(tmp_path / "points.npy", np.array([[Payload(tmp_path / "mark")] * 2] * 9), allow_pickle=True)
    (tmp_path / "raw.npy").write_bytes(pickle.dumps(Payload(tmp_path / "mark")))
    (tmp_path / "points.parquet").write_bytes(pickle.dumps(Payload(tmp_path / "mark")))
    for name in ("points.npy", "raw.npy", "points.parquet"):
        assert main(["target=file", f"target.path={tmp_path / name}"]) == 2
        assert f"{name}: cannot be read" in capsys.readouterr().err


WORDS = {
    "a callback": ["+hydra.callbacks.x._target_=payload.call"],
    "a launcher": ["hydra.launcher._target_=payload.call"],
    "a sweeper": ["hydra.sweeper._target_=payload.call"],
    "a handler of logs": ["+hydra.job_logging.handlers={x: {class: payload.call}}"],
    "a handler of Hydra's own logs": ["+hydra.hydra_logging.handlers.x={class: payload.call}"],
    "options from elsewhere": ["experiment=evil", "hydra.searchpath=[file://{stranger}]"],
    "an option by its path": ["experiment={climb}{stranger}/experiment/evil"],
    "all of Hydra's settings": ["hydra={callbacks: {x: {_target_: payload.call}}}"],
    "a library before others": ["+hydra.job.env_set.LD_PRELOAD={stranger}/evil.so"],
    "shell lines of a job": ["hydra/launcher=slurm", "hydra.launcher.setup=[touch {mark}]"],
    "a class of the stranger": ["target=custom", "target._target_=payload.call"],
}


@pytest.mark.parametrize("case", WORDS)
def test_malicious_words_of_a_manifest_are_refused(case, stranger, tmp_path, capsys):
    option = {"hydra": {"callbacks": {"x": {"_target_": "payload.call"}}}}
    (stranger / "experiment").mkdir()
    (stranger / "experiment/evil.yaml").write_text("# @package _global_\n" + yaml.safe_dump(option))
    climb = "../" * len((ROOT / "conf/experiment").parts)
    manifest = stranger / "sweep/manifest.json"
    content = json.loads(manifest.read_text())
    fill = {"{climb}": climb[:-1], "{stranger}": str(stranger), "{mark}": str(tmp_path / "mark")}
    for word in WORDS[case]:
        for blank, value in fill.items():
            word = word.replace(blank, value)
        content["words"].append(word)
    manifest.write_text(json.dumps(content))
    before = read_files(stranger)
    assert main(["-m", f"sweep_resume={stranger}/sweep"]) == 2
    assert f"{word}: " in capsys.readouterr().err  # the last word is the refused one
    assert read_files(stranger) == before


def test_configuration_of_a_stranger_is_not_interpolated(stranger, monkeypatch, capsys):
    monkeypatch.setenv("NOBODYS_BUSINESS", "planted and plain")
    path = stranger / "run/config.yaml"
    path.write_text(path.read_text().replace("name: csv", "name: ${oc.env:NOBODYS_BUSINESS}"))
    assert main([f"resume={stranger}/run"]) == 2
    (stranger / "sweep/0/config.yaml").write_text(path.read_text())
    summarize.main([str(stranger / "sweep")])
    manifest = stranger / "sweep/manifest.json"
    manifest.write_text(manifest.read_text().replace('"words": [', '"words": ["dtype=${oc.env:NOBODYS_BUSINESS}",'))
    assert main(["-m", f"sweep_resume={stranger}/sweep"]) == 2
    said = capsys.readouterr()
    assert "planted and plain" not in said.out + said.err
    assert not [path for path, content in read_files(stranger).items() if b"planted and plain" in content]


LINKS = ["config.yaml", "status.json", "provenance.json", "metrics.csv", ".status.json.part", "checkpoints", "figures"]


@pytest.mark.parametrize("name", [*LINKS, "wandb", "", "../figures", "../summary.csv", "../.manifest.json.part"])
def test_nothing_is_written_through_a_link(name, stranger, tmp_path, capsys):
    mine = tmp_path / "mine"
    mine.mkdir()
    for run in (stranger / "run", stranger / "sweep/0"):
        if name.startswith("..") and run.name == "run":
            continue
        path = (run / name) if name else run
        if path.is_dir():
            shutil.copytree(path, mine, dirs_exist_ok=True)
            shutil.rmtree(path)
            path.symlink_to(mine)
        else:
            target = mine / f"{run.name}.txt"
            target.write_bytes(path.read_bytes() if path.exists() else b"mine")
            path.unlink(missing_ok=True)
            path.symlink_to(target)
    before = read_files(mine)
    if name and not name.startswith(".."):
        assert main([f"resume={stranger}/run"]) == 2
        assert "is a link out of" in capsys.readouterr().err
    assert main(["-m", f"sweep_resume={stranger}/sweep"]) == 2
    assert summarize.main([str(stranger / "sweep")]) == 2
    assert read_files(mine) == before


def test_key_is_not_sent_to_a_strangers_server(stranger, tmp_path):
    """./wandb/settings names a server, to which Weights & Biases would send the user's key."""
    (stranger / "wandb").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        (stranger / "wandb/settings").write_text(f"[default]\nbase_url = {address}\nmode = online\n")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
        environment |= {"WANDB_API_KEY": "0" * 40, "OMP_NUM_THREADS": "1", "WANDB_SILENT": "true"}
        command = [sys.executable, str(ROOT / "experiments/train.py"), *QUICK, "logger=wandb"]
        done = subprocess.run(command, cwd=stranger, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 2, done.stderr
        assert f"wandb/settings: base_url={address}: Weights & Biases would obey it" in done.stderr
        with pytest.raises(TimeoutError):
            server.accept()


def test_no_address_is_read_as_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        address = f"127.0.0.1:{server.getsockname()[1]}"
        for path in (f"http://{address}/points.csv", f"ftp://{address}/points.npy", f"file://{tmp_path}/points.csv"):
            assert main(["target=file", f"target.path='{path}'"]) == 2
            assert "no such file or directory on this machine, and addresses are not read" in capsys.readouterr().err
        with pytest.raises(TimeoutError):
            server.accept()


def test_run_id_cannot_be_a_path(stranger, capsys):
    path = stranger / "run/provenance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"run_id": "../../evil"}))
    assert main([f"resume={stranger}/run"]) == 2
    assert "run_id='../../evil'" in capsys.readouterr().err
