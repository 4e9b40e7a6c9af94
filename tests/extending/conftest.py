"""A package that is installed beside flowlab, `example_package`: its metadata on the path is all that makes it so."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowlab.config import registry

ROOT = Path(__file__).parents[2]
PACKAGE = Path(__file__).parent / "example_package"
collect_ignore = ["example_package"]


@pytest.fixture(scope="session")
def command_line():
    """Start a command of the shell, in an environment where the example is installed."""
    path = os.pathsep.join([str(ROOT), str(PACKAGE)])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

    def start(*words, cwd):
        command = [sys.executable, str(ROOT / "experiments" / "train.py"), *map(str, words)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=cwd, env=environment, text=True, **pipes)

    return start


@pytest.fixture(scope="module")
def example():
    """The example, installed in this process as well."""
    monkeypatch = pytest.MonkeyPatch()
    for group in registry.PACKAGES:
        registry.names(group)  # flowlab's own stay when the test ends
        monkeypatch.setitem(registry._registered, group, dict(registry._registered[group]))
    monkeypatch.syspath_prepend(str(PACKAGE))
    registry._entry_points.cache_clear()
    yield importlib.import_module("flowlab_example")
    monkeypatch.undo()
    registry._entry_points.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "flowlab_example"]:
        del sys.modules[name]
