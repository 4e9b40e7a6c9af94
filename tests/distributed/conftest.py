"""A run on one process to compare with, and a way to change what each rank does."""

import subprocess

import pytest
from distributed.ranks import SMALL

from flowlab import compose, train


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return train(compose(*SMALL, "max_steps=200"), tmp_path_factory.mktemp("alone") / "run")


@pytest.fixture
def change_ranks(monkeypatch):
    """Return a function that makes every rank run some lines before training; the lines can use the variable `rank`."""

    def change(lines):
        code = (
            "import os, sys, torch\nfrom flowlab.training.loop import Loop\n"
            f"from flowlab.distributed.worker import main\nrank = int(os.environ['LOCAL_RANK'])\n{lines}\n"
            "sys.exit(main(*sys.argv[1:]))"
        )
        start = subprocess.Popen
        monkeypatch.setattr(
            "flowlab.distributed.launch.subprocess.Popen",
            lambda command, **more: start([command[0], "-c", code, *command[3:]], **more),
        )

    return change
