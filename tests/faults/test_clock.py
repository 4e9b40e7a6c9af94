"""A clock that steps: results and recorded durations do not depend on the system time."""

import json

import pytest
from faults.processes import RUN, SWEEP, check_completes, check_same_end, start, wait_for_checkpoint, wait_for_end

DAY = 86400


@pytest.mark.parametrize(("way", "step"), [("back", -30 * DAY), ("forward", 30 * DAY)])
def test_the_clock_steps_while_a_run_trains(reference, shim, tmp_path, way, step):
    """the clock steps {way} by a month while a run trains"""
    process = start(*RUN, "hydra.run.dir=run", cwd=tmp_path, **shim, FLOWLAB_CLOCK=str(tmp_path / "clock"))
    wait_for_checkpoint(process, tmp_path / "run")
    (tmp_path / "clock").write_text(str(step))
    code, error = wait_for_end(process)
    assert code == 0, error
    check_same_end(tmp_path / "run", reference("run"))
    check_times(tmp_path / "run")


def test_the_clock_steps_while_a_sweep_trains(reference, shim, tmp_path):
    """the clock steps back by a month while a sweep trains"""
    clock = tmp_path / "clock"
    process = start(*SWEEP, "hydra.sweep.dir=sweep", cwd=tmp_path, **shim, FLOWLAB_CLOCK=str(clock))
    wait_for_checkpoint(process, tmp_path / "sweep/0")
    clock.write_text(str(-30 * DAY))
    code, error = wait_for_end(process)
    assert code == 0, error
    for job in "0123":
        check_same_end(tmp_path / "sweep" / job, reference("sweep") / job)
        check_times(tmp_path / "sweep" / job)
    assert 0 < json.loads((tmp_path / "sweep/manifest.json").read_text())["seconds"] < 600


def check_times(directory):
    """Check that the recorded durations are right, whatever the system clock shows."""
    rows = [line.split(",") for line in (directory / "metrics.csv").read_text().splitlines()]
    rates, seconds = ([float(row[rows[0].index(name)]) for row in rows[1:]] for name in ("steps_per_second", "seconds"))
    assert all(rate > 0 for rate in rates)
    assert sorted(seconds) == seconds
    assert 0 < json.loads((directory / "result.json").read_text())["seconds"] < 600


def test_the_clock_was_wrong_when_a_run_began(reference, shim, tmp_path):
    """the clock shows the year 2100 when a run begins, and the right time when it resumes"""
    (tmp_path / "clock").write_text(str(27000 * DAY))
    process = start(*RUN, "hydra.run.dir=run", cwd=tmp_path, **shim, FLOWLAB_CLOCK=str(tmp_path / "clock"))
    wait_for_checkpoint(process, tmp_path / "run")
    process.kill()
    process.communicate()
    check_completes("resume=run", cwd=tmp_path)
    check_same_end(tmp_path / "run", reference("run"))
    check_times(tmp_path / "run")
    origin = json.loads((tmp_path / "run/provenance.json").read_text())
    assert origin["time"] > "2099" > origin["resumed"][0]["time"], "the shim did not change the clock"
