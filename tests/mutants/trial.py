"""Run tests in copies of the repository, with or without a mutant, each in a separate process."""

import contextlib
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from multiprocessing.connection import wait
from pathlib import Path

import psutil
import pytest

SLOW = 3.0  # CPU seconds; a test that takes longer without a mutant is left out
ENOUGH = 20.0  # CPU seconds of all tests of a mutant; the slowest are left out beyond this
QUIETLY = ["-x", "-q", "--no-header", "--tb=line", "-p", "no:cacheprovider"]
MEMORY = 64 * 2**30  # bytes of address space; a mutant that asks for more fails

# Each process is forked from a process that has imported the slow libraries, and nothing of flowlab.
FORKS = multiprocessing.get_context("forkserver")
LIBRARIES = [
    "pytest",
    "torch",
    "pytorch_lightning",
    "hypothesis",
    "pandas",
    "scipy.stats",
    "matplotlib.figure",
    "hydra",
]
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # plugins take as long to import as torch
    "PYTHONDONTWRITEBYTECODE": "1",  # Python compares times in whole seconds, but mutants follow faster
}


@dataclass(frozen=True)
class Trial:
    """Tests, as pytest's arguments, and the mutant that they should catch: `source` as the content of `file`."""

    tests: tuple[str, ...]
    file: str = ""
    name: str = "no mutant"
    source: str = ""
    seconds: float = 300.0  # time limit of the tests
    slow: frozenset[str] = frozenset()  # tests to leave out


def copy_tree(root: Path, to: Path) -> Path:
    """Copy the files of a repository that git tracks or does not ignore: no environments, runs or caches."""
    command = ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name in listed.split("\0"):
        if (root / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, to / name)
    return to


def run_trials(copies: Sequence[Path], trials: Sequence[Trial]) -> Iterator[tuple[Trial, int | None, Path]]:
    """Run trials, one at a time in each copy.

    Yields:
        A trial, the exit status of pytest (None if it did not end in time), and the directory of its output.
    """
    waiting, free = list(reversed(trials)), list(copies)
    active: dict = {}
    try:
        while waiting or active:
            while waiting and free:
                trial, copy = waiting.pop(), free.pop()
                original = (copy / trial.file).read_bytes() if trial.file else b""
                if trial.file:
                    (copy / trial.file).write_text(trial.source, encoding="utf-8")
                process = FORKS.Process(target=_run_tests, args=(copy, trial))
                process.start()
                active[process] = trial, copy, original, time.monotonic() + trial.seconds
            wait([process.sentinel for process in active], timeout=1)
            for process, (trial, copy, original, end) in list(active.items()):
                if process.is_alive() and time.monotonic() < end:
                    continue
                status = process.exitcode
                _kill(process, copy)
                if trial.file:
                    (copy / trial.file).write_bytes(original)
                del active[process]
                yield trial, status, copy.parent
                free.append(copy)
    finally:
        for process, (_, copy, *_) in active.items():  # only when interrupted
            _kill(process, copy)


def find_slow(seconds: dict[str, float]) -> frozenset[str]:
    """Return the tests to leave out, given the CPU seconds of each test without a mutant."""
    tests = sorted(seconds, key=lambda test: seconds[test])
    totals = accumulate(seconds[test] for test in tests)
    return frozenset(test for test, total in zip(tests, totals, strict=True) if seconds[test] > SLOW or total > ENOUGH)


def judge(trial: Trial, status: int | None, printed: str) -> tuple[bool, str]:
    """Return whether a mutant was caught, and by which test or why not."""
    lines = [line.partition(" ") for line in printed.splitlines()]
    failed = [rest.split(" - ")[0] for word, _, rest in lines if word in ("FAILED", "ERROR")]
    if status is None:
        return True, f"the tests had not ended after {trial.seconds:.0f} s"
    if failed or status < 0:  # a crash counts
        return True, failed[0] if failed else f"signal {-status}"
    return False, "the tests pass" if status == 0 else f"pytest exits with {status}: {printed[-200:]}"


def _kill(process, copy: Path) -> None:
    """Kill a process and its descendants, also in other sessions: all share a temporary directory."""
    process.kill()
    process.join()
    for each in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # it has ended, or is not ours
            if each.environ().get("TMPDIR") == str(copy.parent):
                each.kill()


class _Timing:
    """A pytest plugin that leaves out slow tests and measures the CPU seconds of the others."""

    def __init__(self, slow: frozenset[str]) -> None:
        self.slow, self.seconds, self.start = slow, dict[str, float](), 0.0

    def pytest_collection_modifyitems(self, items: list) -> None:
        items[:] = [item for item in items if item.nodeid not in self.slow]

    def pytest_runtest_logstart(self) -> None:
        self.start = sum(os.times()[:4])

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.seconds[nodeid] = sum(os.times()[:4]) - self.start


def _run_tests(copy: Path, trial: Trial) -> None:
    """Run the tests of the copy against the packages of the copy, not the installed ones."""
    os.setsid()
    os.chdir(copy)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    printed = os.open(copy.with_name("printed"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    sys.path[:0] = paths = [str(copy), str(copy / "tests")]
    os.environ.update(ENVIRONMENT, PYTHONPATH=os.pathsep.join(paths), TMPDIR=str(copy.parent))
    start, timing = time.monotonic(), _Timing(trial.slow)
    status = pytest.main([*QUIETLY, *trial.tests], plugins=[timing])
    copy.with_name("seconds").write_text(json.dumps([time.monotonic() - start, timing.seconds]), encoding="utf-8")
    package = sys.modules.get("flowlab")
    if package and not Path(str(package.__file__)).is_relative_to(copy):
        os.truncate(printed, 0)
        sys.exit(f"flowlab was imported from {package.__file__}")
    sys.exit(status)
