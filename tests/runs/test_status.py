import errno
import json
import shutil

import pytest

from flowlab.runs import record
from flowlab.runs.directory import Run
from flowlab.runs.record import track_status
from flowlab.system.files import WriteError, write_json


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path, None)


def read_status(run):
    return json.loads((run.directory / "status.json").read_text())


def test_status_of_a_run_is_recorded(run):
    with track_status(run):
        assert read_status(run) == {"status": "running"}
    assert read_status(run) == {"status": "done"}
    with pytest.raises(ZeroDivisionError), track_status(run):
        1 / 0  # noqa: B018
    assert read_status(run)["status"] == "failed"
    assert read_status(run)["error"] == "ZeroDivisionError: division by zero"
    with pytest.raises(KeyboardInterrupt, match="resume="), track_status(run):
        raise KeyboardInterrupt
    assert read_status(run)["status"] == "interrupted"


def test_write_error_says_how_to_resume(run):
    with pytest.raises(WriteError) as raised, track_status(run):
        raise disk_full_error("last.ckpt")
    message = (
        f"last.ckpt: cannot be written: No space left on device; when it can be, continue with resume={run.directory}"
    )
    assert str(raised.value) == read_status(run)["error"] == message


def disk_full_error(path):
    return WriteError(errno.ENOSPC, "No space left on device", str(path))


def test_status_can_be_written_on_a_full_disk(run, monkeypatch):
    def write(path, content):
        if content["status"] != "running":
            raise disk_full_error(path)
        write_json(path, content)

    monkeypatch.setattr(record, "write_json", write)
    with pytest.raises(WriteError), track_status(run):
        raise disk_full_error("last.ckpt")
    assert read_status(run)["status"] == "failed"
    with track_status(run):
        assert read_status(run)["status"] == "running"
    assert read_status(run) == {"status": "done"}


def delete_and_fail(run):
    shutil.rmtree(run.directory)
    raise disk_full_error("last.ckpt")


def test_missing_directory_does_not_hide_the_error(run):
    with pytest.raises(WriteError, match=r"last\.ckpt: .*status\.json cannot be written either"), track_status(run):
        delete_and_fail(run)
