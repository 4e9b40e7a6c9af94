"""Tests of a copy of the tree, in a process of their own: with a mutant in the copy, or without."""

import contextlib
import importlib.util
import multiprocessing
import os
import queue
import shutil
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

from mutants.mutant import ROOT, Mutant, files_of_the_tree

PATIENCE = 180  # seconds for the tests of a mutant: one that makes them hang is not caught
QUIETLY = ["-x", "-q", "--no-header", "--tb=line", "-p", "no:cacheprovider"]
WHY_NOT = {None: "the tests hang", 0: "the tests pass", 1: "no test failed, but what comes before it"}

# Each process is forked from one that has imported what takes long, and nothing of flowlab.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["pytest", "torch", "pytorch_lightning", "hypothesis", "pandas", "scipy.stats", "matplotlib.figure", "hydra"]
)
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # plugins take as long to import as torch
    "PYTHONDONTWRITEBYTECODE": "1",  # whether it is fresh is told by the second, and a mutant may come within one
}

running: set[BaseProcess] = set()


def copy_of_the_tree(to: Path) -> Path:
    """A directory with the files of the tree."""
    for name in files_of_the_tree():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, to / name)
    return to


def attempt(mutant: Mutant, copies: "queue.SimpleQueue[Path]") -> tuple[bool, str, float]:
    """Whether a mutant is caught, by which test or why not, and the seconds that it took."""
    copy, begun = copies.get(), time.monotonic()
    path = copy / mutant.file
    original = path.read_text(encoding="utf-8")
    path.write_text(original.replace(mutant.old, mutant.new), encoding="utf-8")
    status, lines = run_tests(copy, mutant.tests)
    path.write_text(original, encoding="utf-8")
    copies.put(copy)
    failed = [line.removeprefix("FAILED ").split(" - ")[0] for line in lines if line.startswith("FAILED ")]
    caught = status == 1 and bool(failed)
    word = failed[0] if caught else WHY_NOT.get(status, f"pytest exits with {status}: {' '.join(lines[-1:])}")
    return caught, word, time.monotonic() - begun


def run_tests(copy: Path, tests: list[str], patience: float = PATIENCE) -> tuple[int | None, list[str]]:
    """What pytest exits with in a copy, None where it does not come to an end, and the lines that it prints."""
    process = FORKS.Process(target=_run_tests, args=(copy, tests))
    process.start()
    running.add(process)
    process.join(patience)
    status = process.exitcode
    kill(process)
    process.join()
    running.discard(process)
    return status, copy.with_name("printed").read_text(encoding="utf-8").splitlines()


def kill(process: BaseProcess) -> None:
    """End a process and whatever it has started."""
    with contextlib.suppress(ProcessLookupError):  # it has left nothing behind
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.kill()


def _run_tests(copy: Path, tests: list[str]) -> None:
    """Run tests of the flowlab of the copy, and not of that which the environment knows of."""
    os.setsid()
    os.chdir(copy)
    printed = os.open(copy.with_name("printed"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    sys.path.insert(0, str(copy))
    os.environ.update(PYTHONPATH=str(copy), TMPDIR=str(copy.parent))
    for name in ("flowlab", "hydra_plugins.flowlab_stacked_launcher"):
        assert name not in sys.modules
        origin = Path(importlib.util.find_spec(name).origin).resolve()
        assert origin.is_relative_to(copy), f"{name} comes from {origin}"
    import pytest

    sys.exit(pytest.main([*QUIETLY, *tests]))
