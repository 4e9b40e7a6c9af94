import json
import math

import pytest

from flowlab.system.files import WriteError, beside, sweep_up, write_atomically, write_json, write_over, write_text


def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail(beside):
        beside.write_text("half of the new con")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_a_link_in_the_place_of_the_part_is_not_followed(tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    beside(tmp_path / "a.txt").symlink_to(mine)
    write_text(tmp_path / "a.txt", "new")
    assert (mine.read_text(), (tmp_path / "a.txt").read_text()) == ("mine", "new")
    assert not (tmp_path / "a.txt").is_symlink()


def test_numbers_that_json_does_not_know_become_null(tmp_path):
    write_json(tmp_path / "a.json", {"a": math.inf, "b": math.nan, "c": 1.5, "d": "x"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": None, "b": None, "c": 1.5, "d": "x"}


def test_what_cannot_be_written_is_named(tmp_path):
    with pytest.raises(WriteError, match=r"none/a\.txt: cannot be written: No such file or directory$"):
        write_text(tmp_path / "none/a.txt", "x")
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(WriteError, match=r"a\.txt: cannot be written: Is a directory$"):
        write_text(tmp_path / "a.txt", "x")
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("before", ["{}", "x" * 100])
def test_a_little_is_written_over(tmp_path, before):
    path = tmp_path / "a.json"
    path.write_text(before)
    write_over(path, {"status": "failed"})
    assert json.loads(path.read_text()) == {"status": "failed"}
    with pytest.raises(WriteError):
        write_over(tmp_path / "none.json", {})


def test_what_a_kill_left_is_swept_up(tmp_path):
    (tmp_path / "below").mkdir()
    for path in (tmp_path / "a.txt", tmp_path / "below/b.txt"):
        path.write_text("whole")
        beside(path).write_text("par")
    sweep_up(tmp_path)
    assert {path.name for path in tmp_path.rglob("*")} == {"a.txt", "below", "b.txt"}
