"""The list of mutants fits the tree, and the runner can say that one is not caught."""

import os
import subprocess
import sys

from mutants.mutant import ROOT, load

MUTANTS = load()


def test_there_are_enough():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 40


def test_each_can_be_made():
    assert not [problem for mutant in MUTANTS if (problem := mutant.problem())]


def test_the_tests_that_are_named_are_there():
    tests = sorted({test for mutant in MUTANTS for test in mutant.tests})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # which take long to import
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def listed(path, **mutants):
    """A list of mutants of `flowlab/system/files.py`, each as what is replaced and by what."""
    entry = '[[mutants]]\nname = "{}"\nfile = "flowlab/system/files.py"\nold = "{}"\nnew = "{}"\ntests = ["tests/system/test_files.py"]\n'
    path.write_text("".join(entry.format(name, *change) for name, change in mutants.items()))
    return path


def run(path):
    command = [sys.executable, "-m", "mutants.run", "--list", path]
    return subprocess.run(command, cwd=ROOT / "tests", capture_output=True, text=True)


def test_the_runner_tells_what_is_caught_from_what_is_not(tmp_path):
    done = run(
        listed(
            tmp_path / "list.toml",
            harmless=("Let `write` fill", "Let `write` write"),
            caught=("not math.isfinite(value)", "math.isnan(value)"),
            broken=("import json", "import jsno"),
        )
    )
    first, second, third, last = done.stdout.splitlines()
    assert first.endswith("flowlab/system/files.py: harmless; NOT CAUGHT: the tests pass")
    assert second.endswith("caught; by tests/system/test_files.py::test_numbers_that_are_not_finite_become_null")
    assert third.endswith("broken; NOT CAUGHT: no test failed, but what comes before it")
    assert (last, done.returncode) == ("caught: 1 of 3", 1)


def test_a_list_that_does_not_fit_is_refused(tmp_path):
    done = run(listed(tmp_path / "list.toml", gone=("no such text", "x"), twice=("path", "x")))
    assert done.returncode == 2
    gone, twice = done.stderr.splitlines()
    assert gone == "gone: 'no such text' stands 0 times in flowlab/system/files.py; it must stand there once"
    assert twice.startswith("twice: 'path' stands ")
