import json
import math
import os
import shutil

import pytest

from flowlab import ConfigError
from flowlab.system.files import (
    WriteError,
    check_not_replaced,
    check_unlocked,
    lock_directory,
    overwrite_json,
    part_path,
    remove_parts,
    write_atomically,
    write_json,
    write_text,
)


def test_failed_write_keeps_the_old_content_and_leaves_no_temporary_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail(part):
        part.write_text("half of the new con")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_a_symbolic_link_at_the_temporary_path_is_not_followed(tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    part_path(tmp_path / "a.txt").symlink_to(mine)
    write_text(tmp_path / "a.txt", "new")
    assert (mine.read_text(), (tmp_path / "a.txt").read_text()) == ("mine", "new")
    assert not (tmp_path / "a.txt").is_symlink()


def test_numbers_that_are_not_finite_become_null(tmp_path):
    write_json(tmp_path / "a.json", {"a": math.inf, "b": math.nan, "c": 1.5, "d": "x"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": None, "b": None, "c": 1.5, "d": "x"}


def test_the_error_names_the_file_that_cannot_be_written(tmp_path):
    with pytest.raises(WriteError, match=r"none/a\.txt: cannot be written: No such file or directory$"):
        write_text(tmp_path / "none/a.txt", "x")
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(WriteError, match=r"a\.txt: cannot be written: Is a directory$"):
        write_text(tmp_path / "a.txt", "x")
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("before", ["{}", "x" * 100])
def test_a_small_file_is_overwritten_in_place(tmp_path, before):
    path = tmp_path / "a.json"
    path.write_text(before)
    overwrite_json(path, {"status": "failed"})
    assert json.loads(path.read_text()) == {"status": "failed"}
    with pytest.raises(WriteError):
        overwrite_json(tmp_path / "none.json", {})


def test_temporary_files_of_killed_processes_are_removed(tmp_path):
    (tmp_path / "below").mkdir()
    for path in (tmp_path / "a.txt", tmp_path / "below/b.txt"):
        path.write_text("whole")
        part_path(path).write_text("par")
    remove_parts(tmp_path)
    assert {path.name for path in tmp_path.rglob("*")} == {"a.txt", "below", "b.txt"}


def test_file_is_synced_before_the_rename_and_directory_after(tmp_path, monkeypatch):
    path, flushed = tmp_path / "a.txt", []
    monkeypatch.setattr(
        "os.fsync", lambda descriptor: flushed.append((os.readlink(f"/proc/self/fd/{descriptor}"), path.exists()))
    )
    write_text(path, "new")
    assert flushed == [(str(part_path(path)), False), (str(tmp_path), True)]


def test_only_one_process_at_a_time_can_lock_a_directory(tmp_path):
    check_unlocked(tmp_path)
    with lock_directory(tmp_path, "busy here"):
        with pytest.raises(ConfigError, match="another process is busy here"), lock_directory(tmp_path, "busy here"):
            pass
        with pytest.raises(ConfigError, match="another process is training this run"):
            check_unlocked(tmp_path)
    check_unlocked(tmp_path)


def test_a_replaced_directory_is_not_written(tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    check_not_replaced(directory)
    with lock_directory(directory):
        check_not_replaced(directory)
        directory.rename(tmp_path / "moved")
        with pytest.raises(WriteError, match="run: cannot be written: No such file"):
            check_not_replaced(directory)
        directory.mkdir()
        with pytest.raises(WriteError, match="run: cannot be written: another directory has taken its place"):
            check_not_replaced(directory)
        shutil.rmtree(directory)
        (tmp_path / "moved").rename(directory)
        check_not_replaced(directory)
