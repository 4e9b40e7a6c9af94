"""Lessons follow the rules for learners: short cells, a frame, alternative texts; prose agrees with outputs."""

import json
import re
from pathlib import Path

import pytest

PATHS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
NOT_PROSE = re.compile(r"```.*?```|\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|\]\([^)]*\)", re.DOTALL)
lesson = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def cells(path, kind):
    every = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in every if cell["cell_type"] == kind]


def prose(path):
    return [NOT_PROSE.sub(" ", "".join(cell["source"])) for cell in cells(path, "markdown")]


def printed(path):
    for cell in cells(path, "code"):
        for output in cell["outputs"]:
            yield "".join(output.get("text", ""))
            yield "".join(output.get("data", {}).get("text/plain", ""))


def count_folded(path, heading, end):
    """Count the folded code cells between two headings."""
    every = json.loads(path.read_text(encoding="utf-8"))["cells"]
    places = ["".join(cell["source"]) if cell["cell_type"] == "markdown" else "" for cell in every]
    first, last = (next(n for n, text in enumerate(places) if word in text) for word in (heading, end))
    return sum(bool(cell["metadata"].get("jupyter", {}).get("source_hidden")) for cell in every[first:last])


def wrong_numbers(texts, outputs):
    """The decimal numbers of texts that no output holds."""
    known = set(re.findall(r"\d+\.\d+", " ".join(outputs)))
    return [number for text in texts for number in re.findall(r"\d+\.\d+", text) if number not in known]


def test_there_are_lessons():
    assert len(PATHS) >= 6


@lesson
def test_a_cell_has_at_most_15_lines(path):
    assert max("".join(cell["source"]).strip().count("\n") + 1 for cell in cells(path, "code")) <= 15


@lesson
def test_a_lesson_has_its_frame(path):
    first, last = prose(path)[0], prose(path)[-1]
    for word in ("**Question.**", "**Prerequisites.**", "**Time.**"):
        assert word in first
    every = "\n".join(prose(path))
    for word in ("## What you have learned", "## Exercises", "**1 (easy).**", "**2 (harder).**", "## Checks"):
        assert word in every
    assert "**Before:**" in last
    assert count_folded(path, "## Exercises", "## Checks") == 2, "a folded solution for each exercise"
    links = "".join("".join(cell["source"]) for cell in cells(path, "markdown"))
    for target in re.findall(r"\]\(([\w.]+\.ipynb)\)", links):
        assert (path.parent / target).is_file(), target


@lesson
def test_every_picture_has_an_alternative_text_and_a_caption(path):
    every = json.loads(path.read_text(encoding="utf-8"))["cells"]
    for number, cell in enumerate(every):
        pictures = [output for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
        assert all(len(output["metadata"]["image/png"]["alt"]) > 40 for output in pictures)
        if pictures:
            assert "".join(every[number + 1]["source"]).startswith("*"), f"no caption after cell {number}"


@lesson
def test_decimal_numbers_in_prose_are_printed_by_a_cell(path):
    assert not wrong_numbers(prose(path), printed(path))


def test_a_wrong_number_in_prose_is_found():
    assert wrong_numbers(["a KL of 0.24 nats, not 0.25"], ["nice: KL 0.24 nats"]) == ["0.25"]
