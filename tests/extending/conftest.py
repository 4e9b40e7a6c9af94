"""Fixtures that install `example_package` beside flowlab by putting its metadata on the Python path."""

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
    """Start a training command in a process where the example package is installed."""
    path = os.pathsep.join([str(ROOT), str(PACKAGE)])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

    def start(*words, cwd):
        command = [sys.executable, str(ROOT / "experiments" / "train.py"), *map(str, words)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=cwd, env=environment, text=True, **pipes)

    return start


@pytest.fixture(scope="module")
def example():
    """Install the example package in this process as well."""
    monkeypatch = pytest.MonkeyPatch()
    for group in registry.PACKAGES:
        registry.names(group)  # registers flowlab's own components, which stay after the test
        monkeypatch.setitem(registry._registered, group, dict(registry._registered[group]))
    monkeypatch.syspath_prepend(str(PACKAGE))
    registry._entry_points.cache_clear()
    yield importlib.import_module("flowlab_example")
    monkeypatch.undo()
    registry._entry_points.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "flowlab_example"]:
        del sys.modules[name]
