"""Tests of a copy of the tree, in a process of their own, with a mutant in the copy or without."""

import contextlib
import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

QUIETLY = ["-x", "-q", "--no-header", "--tb=line", "-p", "no:cacheprovider"]
FAILED, BROKEN = 1, 2  # pytest's exit statuses: a test failed; an error came before the tests
MEMORY = 32 * 2**30  # bytes of address space; a mutant that asks for more fails
SLOW = 5.0  # seconds; a test that takes longer without a mutant is left out

# Each process is forked from one that has imported what takes long, and nothing of flowlab.
FORKS = multiprocessing.get_context("forkserver")
IMPORTED_BEFORE = ["torch", "pytorch_lightning", "hypothesis", "pandas", "scipy.stats", "matplotlib.figure", "hydra"]
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # plugins take as long to import as torch
    "PYTHONDONTWRITEBYTECODE": "1",  # Python compares whole seconds, and a mutant may come within one
}

running: set[BaseProcess] = set()


@dataclass(frozen=True)
class Mutant:
    """A changed file: the tests should fail when `source` replaces the content of `file`."""

    file: str
    name: str
    source: str


@dataclass(frozen=True)
class Tests:
    """The arguments of pytest that select the tests of a module, and how they ran without a mutant."""

    arguments: tuple[str, ...]
    seconds: float = 60.0
    slow: frozenset[str] = frozenset()

    @property
    def patience(self) -> float:
        """Seconds after which tests with a mutant count as endless."""
        return 15 + 6 * self.seconds


def copy_tree(root: Path, to: Path) -> Path:
    """Copy the files of a repository that are committed or could be: no environments, runs or caches."""
    command = ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name in listed.split("\0"):
        if (root / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, to / name)
    return to


def try_mutant(copy: Path, mutant: Mutant, tests: Tests) -> tuple[bool, str]:
    """Run the tests with a mutant in the copy; return whether it was caught, and by which test or why not."""
    path = copy / mutant.file
    original = path.read_text(encoding="utf-8")
    path.write_text(mutant.source, encoding="utf-8")
    try:
        status, lines = run_tests(copy, tests)
    finally:
        path.write_text(original, encoding="utf-8")
    failed = [line.split(" ")[1] for line in lines if line.startswith(("FAILED ", "ERROR "))]
    match status:
        case 0:
            return False, "the tests pass"
        case None:
            return True, f"the tests had not ended after {tests.patience:.0f} s"
        case _ if status in (FAILED, BROKEN) and failed:
            return True, failed[0]
        case _ if status < 0:
            return True, f"the tests ended with {signal.Signals(-status).name}"
    return False, f"pytest exits with {status}: {' '.join(lines[-1:])}"


def measure_tests(copy: Path, arguments: tuple[str, ...]) -> tuple[Tests | None, list[str]]:
    """Run tests without a mutant; return them without the slow ones, or None and the output if they fail."""
    status, lines = run_tests(copy, Tests(arguments))
    if status != 0:
        return None, lines
    seconds = json.loads(copy.with_name("seconds").read_text(encoding="utf-8"))
    slow = frozenset(test for test in seconds if seconds[test] > SLOW)
    return Tests(arguments, sum(seconds.values()) - sum(seconds[test] for test in slow), slow), lines


def run_tests(copy: Path, tests: Tests) -> tuple[int | None, list[str]]:
    """Return the exit status of pytest in a copy, None if it does not end in time, and the lines that it prints."""
    process = FORKS.Process(target=_run_tests, args=(copy, tests))
    process.start()
    running.add(process)
    process.join(tests.patience)
    status = process.exitcode
    kill(process)
    process.join()
    running.discard(process)
    return status, copy.with_name("printed").read_text(encoding="utf-8").splitlines()


def kill(process: BaseProcess) -> None:
    """End a process and all that it started."""
    with contextlib.suppress(ProcessLookupError):  # nothing is left
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.kill()


class Timing:
    """A plugin of pytest that leaves out slow tests and measures the seconds of the others."""

    def __init__(self, slow: frozenset[str]) -> None:
        self.slow, self.seconds = slow, dict[str, float]()

    def pytest_collection_modifyitems(self, items: list) -> None:
        items[:] = [item for item in items if item.nodeid not in self.slow]

    def pytest_runtest_logreport(self, report) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration


def _run_tests(copy: Path, tests: Tests) -> None:
    """Run the tests of the copy against the packages of the copy, not the installed ones."""
    os.setsid()
    os.chdir(copy)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    printed = os.open(copy.with_name("printed"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    sys.path[:0] = paths = [str(copy), str(copy / "tests")]
    os.environ.update(ENVIRONMENT, PYTHONPATH=os.pathsep.join(paths), TMPDIR=str(copy.parent))
    import pytest

    timing = Timing(tests.slow)
    status = pytest.main([*QUIETLY, *tests.arguments], plugins=[timing])
    for name, module in list(sys.modules.items()):
        origin = getattr(module, "__file__", None)
        if (copy / name.split(".")[0]).is_dir() and origin and not Path(origin).resolve().is_relative_to(copy):
            status = f"{name} comes from {origin}"
    copy.with_name("seconds").write_text(json.dumps(timing.seconds), encoding="utf-8")
    sys.exit(status)
