import errno
import json
import shutil

import pytest

from flowlab.runs import directory
from flowlab.runs.directory import Run, track_status
from flowlab.system.files import WriteError, write_json


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path, None)


def said(run):
    return json.loads((run.directory / "status.json").read_text())


def test_the_state_of_a_run_is_recorded(run):
    with track_status(run):
        assert said(run) == {"status": "running"}
    assert said(run) == {"status": "done"}
    with pytest.raises(ZeroDivisionError), track_status(run):
        1 / 0  # noqa: B018
    assert said(run)["status"] == "failed"
    assert said(run)["error"] == "ZeroDivisionError: division by zero"
    with pytest.raises(KeyboardInterrupt, match="resume="), track_status(run):
        raise KeyboardInterrupt
    assert said(run)["status"] == "interrupted"


def test_a_write_error_says_how_to_resume(run):
    with pytest.raises(WriteError) as raised, track_status(run):
        raise full("last.ckpt")
    message = (
        f"last.ckpt: cannot be written: No space left on device; when it can be, continue with resume={run.directory}"
    )
    assert str(raised.value) == said(run)["error"] == message


def full(path):
    return WriteError(errno.ENOSPC, "No space left on device", str(path))


def test_the_state_of_a_run_fits_on_a_full_disk(run, monkeypatch):
    def write(path, content):
        if content["status"] != "running":
            raise full(path)
        write_json(path, content)

    monkeypatch.setattr(directory, "write_json", write)
    with pytest.raises(WriteError), track_status(run):
        raise full("last.ckpt")
    assert said(run)["status"] == "failed"
    with track_status(run):
        assert said(run)["status"] == "running"
    assert said(run) == {"status": "done"}


def away(run):
    shutil.rmtree(run.directory)
    raise full("last.ckpt")


def test_a_directory_that_is_gone_hides_no_error(run):
    with pytest.raises(WriteError, match=r"last\.ckpt: .*status\.json cannot be written either"), track_status(run):
        away(run)
