"""A data file that disappears or changes: a run trains only on the points that it began with."""

import shutil
from pathlib import Path

import pytest
from faults.processes import (
    FILE,
    RUN,
    check_completes,
    check_refused,
    check_same_end,
    read_files,
    run,
    start,
    wait_for_checkpoint,
    wait_for_end,
    wait_until,
)

WORDS = (*RUN, *FILE, "hydra.run.dir=run")


@pytest.fixture
def points(tmp_path):
    return Path(shutil.copy(Path(__file__).with_name("points.csv"), tmp_path))


@pytest.fixture
def killed_run(points):
    process = start(*WORDS, cwd=points.parent)
    wait_for_checkpoint(process, points.parent / "run")
    process.kill()
    process.communicate()
    return points.parent / "run"


def test_missing_data_file_stops_a_resume(killed_run, points, reference):
    """the data file is missing when a run is resumed"""
    points.rename(points.with_name("away.csv"))
    before = read_files(killed_run)
    check_refused(run("resume=run", cwd=killed_run.parent), 2, "points.csv: no such file")
    assert read_files(killed_run) == before
    points.with_name("away.csv").rename(points)
    check_completes("resume=run", cwd=killed_run.parent)
    check_same_end(killed_run, reference("file"))


def test_changed_data_file_stops_a_resume(killed_run, points, reference):
    """one digit of the data file has changed when a run is resumed: the hash differs"""
    content = points.read_text()
    points.write_text(content.replace("1", "2", 1))
    before = read_files(killed_run)
    check_refused(
        run("resume=run", cwd=killed_run.parent), 2, "points.csv: the file has changed since the run began; put it back"
    )
    assert read_files(killed_run) == before
    points.write_text(content)
    check_completes("resume=run", cwd=killed_run.parent)
    check_same_end(killed_run, reference("file"))


@pytest.mark.parametrize("change", ["changes", "goes away"])
def test_run_keeps_its_points_when_the_data_file_changes(points, reference, change):
    """the data file {change} during training: the run keeps the points that it began with"""
    process = start(*WORDS, cwd=points.parent)
    wait_for_checkpoint(process, points.parent / "run")
    points.write_text("height,weight\n" + "1,2\n3,5\n" * 50) if change == "changes" else points.unlink()
    code, error = wait_for_end(process)
    assert code == 0, error
    check_same_end(points.parent / "run", reference("file"))


def test_ranks_refuse_data_that_changed_before_they_read_it(points):
    """the data file changes after a run on two processes begins and before they read it: they refuse it"""
    process = start(*WORDS, "trainer=ddp_cpu", cwd=points.parent)
    wait_until((points.parent / "run/config.yaml").exists, process)
    points.write_text(points.read_text().replace("1", "2", 1))
    code, error = wait_for_end(process)
    assert code == 2
    assert "points.csv: the file has changed since the run began; put it back" in error
    assert "Traceback" not in error
