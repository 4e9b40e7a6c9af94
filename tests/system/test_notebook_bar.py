"""The progress bar in a real kernel: it is visible while a cell runs, and removed when the cell ends."""

import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

TRAIN = """
import tempfile, flowlab, flowlab.system.display
words = ("test_size=100", "validation_size=100", "flow.depth=2")
flowlab.system.display.UPDATE_SECONDS = 0.0
"""
ONE = 'run = flowlab.train(flowlab.compose("max_steps=60", *words), tempfile.mkdtemp() + "/run")'
MANY = """
configs = [flowlab.compose("max_steps=60", f"seed={seed}", *words) for seed in range(2)]
runs = flowlab.train_many(configs, [tempfile.mkdtemp() + "/run" for _ in configs])
"""
FAILS = """
try:
    flowlab.train(flowlab.compose("optimizer.lr=1e6", "optimizer.schedule=constant", "max_steps=60", *words),
                  tempfile.mkdtemp() + "/run")
except Exception as error:
    print(type(error).__name__)
"""


class RecordingClient(NotebookClient):
    """Records every update of an output while a cell runs."""

    def process_message(self, msg, cell, cell_index):
        if msg["msg_type"] == "update_display_data":
            self.__dict__.setdefault("drawn", []).append((cell_index, msg["content"]["data"]))
        return super().process_message(msg, cell, cell_index)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in (TRAIN, ONE, MANY, FAILS)])
    client = RecordingClient(notebook, timeout=120, kernel_name="python3")
    client.execute()
    path = tmp_path_factory.mktemp("notebook") / "trained.ipynb"
    nbformat.write(notebook, path)
    return notebook, client.drawn, path


@pytest.mark.parametrize("index", [1, 2], ids=["train", "train_many"])
def test_the_bar_is_drawn_and_removed(executed, index):
    notebook, drawn, _ = executed
    pictures = [data.get("text/html", "") for cell, data in drawn if cell == index]
    assert any("<progress" in picture for picture in pictures)
    assert pictures[-1] == ""
    shown = [output for output in notebook.cells[index].outputs if output.output_type == "display_data"]
    assert [output.data for output in shown] == [{"text/plain": ""}]
    assert not [output for output in notebook.cells[index].outputs if output.get("name") == "stderr"]


def test_the_bar_shows_the_step_and_the_speed(executed):
    _, drawn, _ = executed
    texts = [data["text/html"] for cell, data in drawn if cell == 1 and "text/html" in data]
    assert any("/60  loss" in text and "steps/s" in text for text in texts)


def test_the_bar_is_removed_when_training_fails(executed):
    notebook, drawn, _ = executed
    assert "DivergedError" in "".join(output.get("text", "") for output in notebook.cells[3].outputs)
    assert [data for cell, data in drawn if cell == 3][-1] == {"text/plain": ""}


def test_nbval_accepts_the_notebook(executed):
    path = executed[2]
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--rootdir", path.parent, path], capture_output=True, text=True, cwd=path.parent, check=False
    )
    assert done.returncode == 0, done.stdout
