import json
import math

import pytest

from flowlab.files import write_atomically, write_json, write_text


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


def test_numbers_that_json_does_not_know_become_null(tmp_path):
    write_json(tmp_path / "a.json", {"a": math.inf, "b": math.nan, "c": 1.5, "d": "x"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": None, "b": None, "c": 1.5, "d": "x"}
