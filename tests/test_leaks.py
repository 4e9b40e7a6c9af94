"""flowlab writes and prints no secret from the environment, a command line or an error."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest

from flowlab.cli.main import main
from flowlab.config.security import secret_in

ROOT = Path(__file__).parent.parent
QUICK = ("max_steps=40", "test_size=200", "validation_size=200", "batch_size=32", "flow.depth=1")
QUICK = (*QUICK, "trainer.progress=off")

# Invented secrets that no command may write or print.
SECRETS = {
    "WANDB_API_KEY": "fedcba9876543210fedcba9876543210fedcba98",
    "HF_TOKEN": "hf_" + "ZyXwVuTsRqPoNmLkJiHgFeDcBa987654",
    "LAB_PASSWORD": "correct horse battery",
    "ON_THE_COMMAND_LINE": "ghp_" + "QwErTyUiOpAsDfGhJkLzXcVbNm012345",
}
LEAKY = """
    import os
    from flowlab.targets import Funnel

    class Leaky(Funnel):
        def rows(self, split, *rest):
            if split == "test":
                key, password = os.environ["WANDB_API_KEY"], os.environ["LAB_PASSWORD"]
                raise OSError(f"401 of https://me:{password}@host for api_key={key}")
            return super().rows(split, *rest)
"""


def find_leaks(directory, *done):
    """Return the places with a secret: files below a directory, file names, and the output of processes."""
    found = [
        f"{name} in {path}" for path in directory.rglob("*") for name, text in SECRETS.items() if text in str(path)
    ]
    places = {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    places |= {f"output of {each.args}": each.stdout + each.stderr for each in done}
    return found + [f"{name} in {where}" for where, text in places.items() for name in SECRETS if contains(text, name)]


def contains(content, name):
    return SECRETS[name].encode() in content or SECRETS[name].encode("utf-16-le") in content


def test_no_secret_is_written_or_printed(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code/leaky.py").write_text(textwrap.dedent(LEAKY))
    script = tmp_path / "code/script.py"
    script.write_text(f"import flowlab\nflowlab.train(flowlab.compose(*{QUICK!r}), 'from_python')\n")
    work = tmp_path / "work"
    work.mkdir()
    environment = os.environ | SECRETS | {"OMP_NUM_THREADS": "1", "NETRC": "/nonexistent", "WANDB_SILENT": "true"}
    environment |= {"PYTHONPATH": f"{tmp_path / 'code'}:{ROOT}", "FLOWLAB_ALLOW": "leaky"}
    environment |= {"WANDB_BASE_URL": "http://127.0.0.1:9"}

    def run(*words, status, program=ROOT / "experiments/train.py"):
        command = [sys.executable, str(program), *words]
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, timeout=200)
        done.args = " ".join(words[-2:]).replace(SECRETS["ON_THE_COMMAND_LINE"], "...")
        assert done.returncode == status, done.stderr.decode()
        return done

    planted = SECRETS["ON_THE_COMMAND_LINE"]
    leaky = ("target=custom", "target._target_=leaky.Leaky")
    done = [
        run(*QUICK, "logger=wandb", "hydra.run.dir=run", status=0),
        run("-m", *QUICK, "logger=wandb", "seed=0,1", "hydra/launcher=stacked", "hydra.sweep.dir=sweep", status=0),
        run("-m", *QUICK, *leaky, "seed=0,1", "hydra.sweep.dir=failed", status=1),
        run("--api-key", planted, f"--token={planted}", status=0, program=script),
    ]
    assert find_leaks(work, *done) == []
    status = json.loads((work / "failed/0/status.json").read_text())
    assert status["error"] == "OSError: 401 of https://<redacted>@host for api_key=<redacted>"
    assert "leaky.py" in status["traceback"]
    command = json.loads((work / "from_python/provenance.json").read_text())["command"]
    assert command[1:] == ["--api-key", "<redacted>", "--token=<redacted>"]


@pytest.mark.parametrize(
    "words",
    [
        ["logger=wandb", "logger.wandb.run_name={planted}"],
        ["logger=wandb", "logger.wandb.group=${oc.env:LAB_PASSWORD}"],
        ["--cfg", "job", "logger=wandb", "logger.wandb.group={planted}"],
        ["seed={planted}"],
        ["nonsense={planted}"],
        ["target=file", "target.path={planted}.csv"],
        ["hydra.run.dir=runs/{planted}"],
        ["hydra.run.dir=runs/${oc.env:LAB_PASSWORD}"],
        ["-m", "seed=0,1", "hydra.sweep.dir=${oc.env:LAB_PASSWORD}"],
        ["-m", "seed=0,1", "+hydra.sweeper.storage=postgresql://me:{planted}@host/db"],
        ["-m", "logger=wandb", "logger.wandb.project='{planted}',a"],
    ],
    ids=lambda words: words[-1],
)
def test_a_secret_on_the_command_line_is_refused(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAB_PASSWORD", SECRETS["LAB_PASSWORD"])
    assert main([word.replace("{planted}", SECRETS["ON_THE_COMMAND_LINE"]) for word in words]) == 2
    said = capsys.readouterr()
    assert "secret" in said.err
    assert not [name for name, secret in SECRETS.items() if secret in said.out + said.err]
    assert list(tmp_path.iterdir()) == []


def test_notebooks_and_records_hold_no_secret():
    for path in ROOT.glob("notebooks/*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            texts = [cell.source, *(output.get("text", "") for output in cell.get("outputs", []))]
            texts += [output.get("data", {}).get("text/plain", "") for output in cell.get("outputs", [])]
            assert [line for text in texts for line in text.splitlines() if secret_in(line)] == [], path
    for path in ROOT.glob("experiments/results/*.json"):
        assert secret_in(path.read_text()) is None, path
