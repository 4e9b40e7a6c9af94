"""Bad input on the command line gives one message with the culprit and the remedy, and writes nothing.

The cases are in `tests/bad_input/`: configurations, command lines, data files, and directories of runs and sweeps.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from bad_input.command_lines import COMMAND_LINES
from bad_input.configurations import CONFIGURATIONS
from bad_input.damaged_runs import ELSEWHERE, RESUMED, RUNS, SUMMARIZED, SWEEPS
from bad_input.data_files import DATA_FILES
from summarize import main as summarize

from flowlab.cli.main import main as train

ROOT = Path(__file__).parent.parent
QUICK = ("max_steps=20", "flow.depth=1", "test_size=50", "validation_size=50", "batch_size=8", "trainer.progress=off")
SECONDS = 120  # time limit of a command


@dataclass(frozen=True)
class Case:
    """A wrong command line and its error message.

    Attributes:
        words: the command line.
        said: two parts of the message: the culprit and the remedy.
        prepare: writes the files that the command line names into the working directory.
        command: the program.
        directories: the command needs an undamaged run directory and sweep directory.
    """

    words: list[str]
    said: tuple[str, str]
    prepare: Callable[[Path], object] = lambda root: None
    command: Callable[[list[str]], int] = train
    directories: bool = False


CASES = {f"configuration: {name}": Case(words, tuple(said)) for name, (words, *said) in CONFIGURATIONS.items()}
CASES |= {f"command line: {name}": Case(words, tuple(said)) for name, (words, *said) in COMMAND_LINES.items()}
CASES |= {
    f"data file: {name[:40]}": Case(
        ["target=file", f"target.path={name}", *words],
        (culprit, remedy),
        lambda root, fill=fill, name=name: fill(root / name),
    )
    for name, (fill, culprit, remedy, *words) in DATA_FILES.items()
}
CASES |= {
    f"run: {name}": Case(["resume=run"], tuple(said), damage, directories=True)
    for name, (damage, *said) in RUNS.items()
}
CASES |= {
    f"run elsewhere: {name}": Case(["resume=run", *words], tuple(said), directories=True)
    for name, (words, *said) in ELSEWHERE.items()
}
CASES |= {
    f"sweep: {name}": Case(["-m", "sweep_resume=sweep"], tuple(said), damage, directories=True)
    for name, (damage, *said) in (SWEEPS | RESUMED).items()
}
CASES |= {
    f"summary: {name}": Case(["sweep"], tuple(said), damage, summarize, directories=True)
    for name, (damage, *said) in SWEEPS.items()
}
CASES |= {
    f"summary of: {name}": Case(words, tuple(said), command=summarize, directories=True)
    for name, (words, *said) in SUMMARIZED.items()
}
CASES["a used directory"] = Case(
    ["hydra.run.dir=mine"],
    ("mine: exists and is not empty", "choose another directory"),
    lambda root: ((root / "mine").mkdir(), (root / "mine/notes.txt").write_text("keep")),
)


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    """An interrupted run and a finished sweep."""
    root, before = tmp_path_factory.mktemp("directories"), Path.cwd()
    os.chdir(root)
    try:
        assert train([*QUICK, "hydra.run.dir=run"]) == 0
        assert train(["-m", *QUICK, "seed=0,1", "hydra.sweep.dir=sweep"]) == 0
    finally:
        os.chdir(before)
    (root / "run/status.json").write_text('{"status": "interrupted"}')
    return root


@pytest.fixture
def isolated_directory(tmp_path, monkeypatch):
    """An empty working directory, on a machine without a GPU and without a key of Weights & Biases."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", "/nonexistent")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    return tmp_path


def read_all_paths(directory):
    """Return every path below a directory with the bytes of a file or the mode of anything else."""
    return {
        str(path): path.read_bytes() if path.is_file() and not path.is_symlink() else path.lstat().st_mode
        for path in sorted(directory.rglob("*"))
    }


def run_case(case):
    def fail_after_time_limit(*_):
        pytest.fail(f"no answer in {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, fail_after_time_limit)
    signal.alarm(SECONDS)
    try:
        return case.command(case.words)
    except SystemExit as ended:  # argparse exits by itself
        return ended.code
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def check_message(error, case):
    """Check for one message of flowlab or argparse with both parts, and for no traceback or warning."""
    for part in case.said:
        assert part in error
    assert "Traceback" not in error
    assert "Warning" not in error
    assert error.count("flowlab: ") + error.count("usage: ") + error.count("not found in config") == 1


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_bad_input(case, isolated_directory, request, capsys):
    if case.directories:
        shutil.copytree(request.getfixturevalue("directories"), isolated_directory, dirs_exist_ok=True)
    case.prepare(isolated_directory)
    before = read_all_paths(isolated_directory)
    capsys.readouterr()
    status = run_case(case)
    said = capsys.readouterr()
    assert status == 2, said
    check_message(said.err, case)
    assert read_all_paths(isolated_directory) == before


@pytest.mark.parametrize(
    "name",
    [
        "configuration: unknown key",
        "command line: bytes that are no text",
        "command line: a hundred million jobs",
        "data file: endless.csv",
        "run: malicious checkpoint",
        "summary: deep manifest",
    ],
)
def test_bad_input_in_a_new_process(name, isolated_directory, request):
    case = CASES[name]
    if case.directories:
        shutil.copytree(request.getfixturevalue("directories"), isolated_directory, dirs_exist_ok=True)
    case.prepare(isolated_directory)
    before = read_all_paths(isolated_directory)
    script = ROOT / "experiments" / ("train.py" if case.command is train else "summarize.py")
    command = [sys.executable, str(script), *map(os.fsencode, case.words)]
    done = subprocess.run(command, capture_output=True, timeout=SECONDS)
    assert done.returncode == 2
    check_message(done.stderr.decode(), case)
    assert done.stdout == b""
    assert read_all_paths(isolated_directory) == before
