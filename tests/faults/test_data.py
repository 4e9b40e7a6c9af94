"""The file of a user's points goes away or changes: a run keeps to the points that it began with."""

import shutil
from pathlib import Path

import pytest
from faults.processes import FILE, RUN, completed, contents, ended, refused, run, same_end, start, trains, wait_until

WORDS = (*RUN, *FILE, "hydra.run.dir=run")


@pytest.fixture
def points(tmp_path):
    return Path(shutil.copy(Path(__file__).with_name("points.csv"), tmp_path))


@pytest.fixture
def killed(points):
    process = start(*WORDS, cwd=points.parent)
    trains(process, points.parent / "run")
    process.kill()
    process.communicate()
    return points.parent / "run"


def test_the_file_has_gone_before_a_run_goes_on(killed, points, whole):
    """the data file has gone when a run is resumed"""
    points.rename(points.with_name("away.csv"))
    before = contents(killed)
    refused(run("resume=run", cwd=killed.parent), 2, "points.csv: no such file")
    assert contents(killed) == before
    points.with_name("away.csv").rename(points)
    completed("resume=run", cwd=killed.parent)
    same_end(killed, whole("file"))


def test_the_file_has_changed_before_a_run_goes_on(killed, points, whole):
    """one digit of the data file has changed when a run is resumed: its hash tells"""
    content = points.read_text()
    points.write_text(content.replace("1", "2", 1))
    before = contents(killed)
    refused(
        run("resume=run", cwd=killed.parent), 2, "points.csv: the file has changed since the run began; put it back"
    )
    assert contents(killed) == before
    points.write_text(content)
    completed("resume=run", cwd=killed.parent)
    same_end(killed, whole("file"))


@pytest.mark.parametrize("change", ["changes", "goes away"])
def test_the_file_changes_while_a_run_trains(points, whole, change):
    """the data file {change} while a run trains on it: the run has the points that it began with"""
    process = start(*WORDS, cwd=points.parent)
    trains(process, points.parent / "run")
    points.write_text("height,weight\n" + "1,2\n3,5\n" * 50) if change == "changes" else points.unlink()
    code, error = ended(process)
    assert code == 0, error
    same_end(points.parent / "run", whole("file"))


def test_the_file_changes_before_the_ranks_have_read_it(points):
    """the data file changes when a run on two processes has begun, and they have not read it yet: they refuse it"""
    process = start(*WORDS, "trainer=ddp_cpu", cwd=points.parent)
    wait_until((points.parent / "run/config.yaml").exists, process)
    points.write_text(points.read_text().replace("1", "2", 1))
    code, error = ended(process)
    assert code == 2
    assert "points.csv: the file has changed since the run began; put it back" in error
    assert "Traceback" not in error
