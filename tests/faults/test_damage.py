"""Damaged files: a message names each file and the remedy, and no damage changes a result."""

import random
import shutil
import signal

import pytest
from faults.processes import (
    RUN,
    check_completes,
    check_refused,
    check_same_end,
    is_same,
    read_files,
    run,
    start,
    wait_until,
)

from flowlab import ConfigError, load_run
from flowlab.loggers.base import check_metrics

FLIPS = 500


@pytest.fixture(scope="module")
def interrupted_run(tmp_path_factory):
    """A run that was interrupted halfway."""
    directory = tmp_path_factory.mktemp("run_dir")
    process = start(*RUN, "hydra.run.dir=run", cwd=directory)
    wait_until((directory / "run/checkpoints/best.ckpt").exists, process)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    return directory / "run"


@pytest.fixture
def run_dir(interrupted_run, tmp_path):
    """A copy of the interrupted run."""
    return shutil.copytree(interrupted_run, tmp_path / "run")


def check_refusal(directory, *parts):
    """Check that a resume is refused with one message and changes no file."""
    before = read_files(directory)
    check_refused(run(f"resume={directory.name}", cwd=directory.parent), 2, *parts)
    assert read_files(directory) == before


def load_last(run):
    """Return the flow of the last checkpoint, or the error message."""
    try:
        return run.load_flow("last"), ""
    except ConfigError as error:
        return None, str(error)


def test_truncated_checkpoint_is_refused(run_dir, reference):
    """last.ckpt is truncated at 100 places: each file is refused; a copy of best.ckpt in its place resumes"""
    last = run_dir / "checkpoints/last.ckpt"
    content, draw, read = last.read_bytes(), random.Random(0), load_run(run_dir)
    for length in [0, len(content) - 1, *(draw.randrange(len(content)) for _ in range(98))]:
        last.write_bytes(content[:length])
        assert "last.ckpt: cannot be read: it is damaged; copy best.ckpt" in load_last(read)[1], f"cut at {length}"
    check_refusal(run_dir, "last.ckpt: cannot be read: it is damaged; copy best.ckpt over it to resume from there")
    shutil.copy(run_dir / "checkpoints/best.ckpt", last)
    check_completes("resume=run", cwd=run_dir.parent)
    check_same_end(run_dir, reference("run"))


def test_checkpoint_with_a_flipped_bit_is_refused(run_dir, reference):
    """one bit of last.ckpt is flipped, at 500 places: each file is refused; without it the run starts again"""
    last = run_dir / "checkpoints/last.ckpt"
    read = load_run(run_dir)
    unharmed, _ = load_last(read)
    content, draw, refusals = last.read_bytes(), random.Random(0), 0
    for place in [0, 8 * len(content) - 1, *(draw.randrange(8 * len(content)) for _ in range(FLIPS - 2))]:
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        last.write_bytes(flipped)
        flow, said = load_last(read)
        assert flow is None or is_same(flow.state_dict(), unharmed.state_dict()), f"other weights from bit {place}"
        assert flow or "last.ckpt: cannot be read: it is damaged; copy best.ckpt over it to resume" in said
        refusals += flow is None
    assert refusals > FLIPS - 5  # only a flip in the word "sha256" is harmless
    last.write_bytes(content[:4096] + bytes(512) + content[4608:])
    check_refusal(run_dir, "last.ckpt: cannot be read: it is damaged", "remove both to begin again")
    shutil.rmtree(run_dir / "checkpoints")
    check_completes("resume=run", cwd=run_dir.parent)
    check_same_end(run_dir, reference("run"))


def test_damaged_best_checkpoint_is_refused_at_once(run_dir, reference):
    """best.ckpt is damaged: the resume is refused at the beginning, not at the end"""
    best = run_dir / "checkpoints/best.ckpt"
    best.write_bytes(best.read_bytes()[:-100])
    check_refusal(run_dir, "best.ckpt: cannot be read: it is damaged; remove the checkpoints")
    shutil.rmtree(run_dir / "checkpoints")
    check_completes("resume=run", cwd=run_dir.parent)
    check_same_end(run_dir, reference("run"))


def test_partial_last_row_of_metrics_is_written_again(run_dir, reference):
    """metrics.csv ends in the middle of a row after the checkpoint: the resumed run writes the row again"""
    with open(run_dir / "metrics.csv", "a") as file:
        file.write("990,1.2")
    check_completes("resume=run", cwd=run_dir.parent)
    check_same_end(run_dir, reference("run"))


def test_missing_rows_of_metrics_are_refused(run_dir, reference):
    """metrics.csv has lost rows that a resumed run would not write again: the resume is refused"""
    metrics = run_dir / "metrics.csv"
    content = metrics.read_bytes()
    metrics.write_bytes(content[: len(content) // 2])
    check_refusal(run_dir, "metrics.csv: ends at step ", "rows are missing; put them back, or remove the checkpoint")
    metrics.unlink()
    check_refusal(run_dir, "metrics.csv: ends at step 0")
    metrics.write_bytes(content)
    check_completes("resume=run", cwd=run_dir.parent)
    check_same_end(run_dir, reference("run"))


def test_damaged_row_of_metrics_is_named(run_dir, reference):
    """a row in the middle of metrics.csv is damaged: the message names the line"""
    metrics = run_dir / "metrics.csv"
    content = metrics.read_bytes()
    lines = content.splitlines(keepends=True)
    for line in (lines[2][:5] + b"\0\0\0\0" + lines[2][9:], lines[2].replace(b",", b";"), lines[1], b"\n"):
        metrics.write_bytes(b"".join([*lines[:2], line, *lines[3:]]))
        with pytest.raises(ConfigError, match="metrics.csv: line 3 is damaged"):
            check_metrics(metrics, 0)
    check_refusal(run_dir, "metrics.csv: line 3 is damaged: ", "mend it, or remove it")
    metrics.write_bytes(content)
    check_completes("resume=run", cwd=run_dir.parent)
    check_same_end(run_dir, reference("run"))


def test_damaged_status_provenance_or_config_is_refused(run_dir, reference):
    """status.json, provenance.json or config.yaml holds zeros, as after a power failure: the resume is refused"""
    for name in ("status.json", "provenance.json", "config.yaml"):
        content = (run_dir / name).read_bytes()
        (run_dir / name).write_bytes(bytes(len(content)))
        check_refusal(run_dir, f"{name}: cannot be read")
        (run_dir / name).write_bytes(content)
    check_completes("resume=run", cwd=run_dir.parent)
    check_same_end(run_dir, reference("run"))
