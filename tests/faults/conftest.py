"""Print the docstring of each test as the line of its fault, and at the end the number of faults survived."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from faults.processes import FILE, RUN, SWEEP, check_completes

HERE = Path(__file__).parent
outcomes = {}


def pytest_runtest_setup(item):
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    item.user_properties.append(("fault", item.function.__doc__.format(**parameters)))


def pytest_report_teststatus(report):
    return report.outcome if report.when == "call" or not report.passed else "", "", ""  # FaultReporter prints instead


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # the main process of pytest-xdist receives all reports
        config.pluginmanager.register(FaultReporter(config.pluginmanager.get_plugin("terminalreporter")))


class FaultReporter:
    """Prints a line after each fault, and at the end the number of faults survived."""

    def __init__(self, terminal):
        self.terminal = terminal

    def pytest_runtest_logreport(self, report):
        fault = dict(report.user_properties).get("fault", report.nodeid)
        outcomes.setdefault(fault, []).append(report)
        if report.when == "teardown":
            seconds = sum(part.duration for part in outcomes[fault])
            self.terminal.write_line(f"{self.survived(fault):<12} {fault}  ({seconds:.0f} s)")

    def survived(self, fault):
        passed = [part.when for part in outcomes[fault] if part.passed]
        return "survived" if passed == ["setup", "call", "teardown"] else "NOT SURVIVED"

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self):
        count = sum(self.survived(fault) == "survived" for fault in outcomes)
        print(f"survived: {count} of {len(outcomes)}")


class ReferenceRuns:
    """Runs without a fault; each starts when a test first needs it."""

    words = {
        "run": [*RUN, "hydra.run.dir=run"],
        "sweep": [*SWEEP, "hydra.sweep.dir=sweep"],
        "file": [*RUN, *FILE, "hydra.run.dir=file"],
    }

    def __init__(self, directory):
        self.directory, self._seconds = directory, {}
        shutil.copy(HERE / "points.csv", directory)

    def __call__(self, name):
        """Return the directory of a reference run."""
        if name not in self._seconds:
            started = time.monotonic()
            check_completes(*self.words[name], cwd=self.directory)
            self._seconds[name] = time.monotonic() - started
        return self.directory / name

    def seconds(self, name):
        """Return the duration of a reference run."""
        self(name)
        return self._seconds[name]


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    return ReferenceRuns(tmp_path_factory.mktemp("reference"))


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """The environment of a process whose clock can be shifted and whose renames can be interrupted."""
    library = tmp_path_factory.mktemp("shim") / "shim.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, HERE / "shim.c", "-ldl"], check=True)
    return {"LD_PRELOAD": str(library)}


class Disk:
    """A small file system in memory."""

    def __init__(self, path):
        self.path, self.ballast = path, path / "ballast"
        path.mkdir()
        self._run("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", path)

    def fill(self):
        """Write until the disk is full."""
        with open(self.ballast, "ab", buffering=0) as file:
            for size in (65536, 4096, 1):
                try:
                    while file.write(b"0" * size):
                        pass
                except OSError:
                    continue
        assert os.statvfs(self.path).f_bavail == 0

    def make_room(self):
        self.ballast.unlink()

    def make_read_only(self):
        # The disk is busy while a run has a file open for writing, which it has for a moment at each write.
        for _ in range(1000):
            if subprocess.run(["mount", "-o", "remount,ro", self.path], capture_output=True).returncode == 0:
                return
            time.sleep(0.01)
        self._run("mount", "-o", "remount,ro", self.path)

    def make_writable(self):
        self._run("mount", "-o", "remount,rw", self.path)

    def remove(self):
        self._run("umount", "--lazy", self.path)

    def _run(self, *words):
        subprocess.run(words, check=True)


@pytest.fixture
def disk(tmp_path):
    made = Disk(tmp_path / "disk")
    yield made
    made.remove()
