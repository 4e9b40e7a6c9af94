"""Files that a disk, or somebody, has damaged: each is named, with what can be done, and none gives other numbers."""

import random
import shutil
import signal

import pytest
from faults.processes import RUN, completed, contents, refused, run, same, same_end, start, wait_until

from flowlab import ConfigError, load_run
from flowlab.loggers.csv import check_metrics

FLIPS = 500


@pytest.fixture(scope="module")
def once_stopped(tmp_path_factory):
    """A run that was stopped in its midst."""
    directory = tmp_path_factory.mktemp("stopped")
    process = start(*RUN, "hydra.run.dir=run", cwd=directory)
    wait_until((directory / "run/checkpoints/best.ckpt").exists, process)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    return directory / "run"


@pytest.fixture
def stopped(once_stopped, tmp_path):
    return shutil.copytree(once_stopped, tmp_path / "run")


def refused_unchanged(directory, *parts):
    """See that a run does not go on, with one message, and that nothing of it has changed."""
    before = contents(directory)
    refused(run(f"resume={directory.name}", cwd=directory.parent), 2, *parts)
    assert contents(directory) == before


def loaded(run):
    """The flow of the last checkpoint, or what is said of it."""
    try:
        return run.load_flow("last"), ""
    except ConfigError as error:
        return None, str(error)


def test_a_checkpoint_is_cut_short(stopped, whole):
    """last.ckpt is cut short, at 100 places: each is refused; with best.ckpt in its place the run continues"""
    last = stopped / "checkpoints/last.ckpt"
    content, draw, read = last.read_bytes(), random.Random(0), load_run(stopped)
    for length in [0, len(content) - 1, *(draw.randrange(len(content)) for _ in range(98))]:
        last.write_bytes(content[:length])
        assert "last.ckpt: cannot be read: it is damaged; copy best.ckpt" in loaded(read)[1], f"cut at {length}"
    refused_unchanged(stopped, "last.ckpt: cannot be read: it is damaged; copy best.ckpt over it to resume from there")
    shutil.copy(stopped / "checkpoints/best.ckpt", last)
    completed("resume=run", cwd=stopped.parent)
    same_end(stopped, whole("run"))


def test_bits_of_a_checkpoint_are_flipped(stopped, whole):
    """a bit of last.ckpt is flipped, at 500 places: each is refused; without the file the run begins again"""
    last = stopped / "checkpoints/last.ckpt"
    read = load_run(stopped)
    unharmed, _ = loaded(read)
    content, draw, refusals = last.read_bytes(), random.Random(0), 0
    for place in [0, 8 * len(content) - 1, *(draw.randrange(8 * len(content)) for _ in range(FLIPS - 2))]:
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        last.write_bytes(flipped)
        flow, said = loaded(read)
        assert flow is None or same(flow.state_dict(), unharmed.state_dict()), f"other weights from bit {place}"
        assert flow or "last.ckpt: cannot be read: it is damaged; copy best.ckpt over it to resume" in said
        refusals += flow is None
    assert refusals > FLIPS - 5  # only a flip in the word "sha256" is harmless
    last.write_bytes(content[:4096] + bytes(512) + content[4608:])
    refused_unchanged(stopped, "last.ckpt: cannot be read: it is damaged", "remove both to begin again")
    shutil.rmtree(stopped / "checkpoints")
    completed("resume=run", cwd=stopped.parent)
    same_end(stopped, whole("run"))


def test_the_best_checkpoint_is_damaged(stopped, whole):
    """best.ckpt is damaged: that is said before a run continues, and not at its end"""
    best = stopped / "checkpoints/best.ckpt"
    best.write_bytes(best.read_bytes()[:-100])
    refused_unchanged(stopped, "best.ckpt: cannot be read: it is damaged; remove the checkpoints")
    shutil.rmtree(stopped / "checkpoints")
    completed("resume=run", cwd=stopped.parent)
    same_end(stopped, whole("run"))


def test_metrics_are_cut_in_a_line(stopped, whole):
    """metrics.csv ends in the midst of a row, which comes after the checkpoint: the row is made again"""
    with open(stopped / "metrics.csv", "a") as file:
        file.write("990,1.2")
    completed("resume=run", cwd=stopped.parent)
    same_end(stopped, whole("run"))


def test_metrics_are_missing(stopped, whole):
    """metrics.csv has lost its second half, of which the checkpoint makes no rows again: that is said"""
    metrics = stopped / "metrics.csv"
    content = metrics.read_bytes()
    metrics.write_bytes(content[: len(content) // 2])
    refused_unchanged(
        stopped, "metrics.csv: ends at step ", "rows are missing; put them back, or remove the checkpoint"
    )
    metrics.unlink()
    refused_unchanged(stopped, "metrics.csv: ends at step 0")
    metrics.write_bytes(content)
    completed("resume=run", cwd=stopped.parent)
    same_end(stopped, whole("run"))


def test_a_row_of_metrics_is_damaged(stopped, whole):
    """a row in the midst of metrics.csv is damaged: the line is named"""
    metrics = stopped / "metrics.csv"
    content = metrics.read_bytes()
    lines = content.splitlines(keepends=True)
    for line in (lines[2][:5] + b"\0\0\0\0" + lines[2][9:], lines[2].replace(b",", b";"), lines[1], b"\n"):
        metrics.write_bytes(b"".join([*lines[:2], line, *lines[3:]]))
        with pytest.raises(ConfigError, match="metrics.csv: line 3 is damaged"):
            check_metrics(metrics, 0)
    refused_unchanged(stopped, "metrics.csv: line 3 is damaged: ", "mend it, or remove it")
    metrics.write_bytes(content)
    completed("resume=run", cwd=stopped.parent)
    same_end(stopped, whole("run"))


def test_what_a_run_says_of_itself_is_damaged(stopped, whole):
    """status.json, provenance.json or config.yaml holds zeros, as after a power failure: it can be put back"""
    for name in ("status.json", "provenance.json", "config.yaml"):
        content = (stopped / name).read_bytes()
        (stopped / name).write_bytes(bytes(len(content)))
        refused_unchanged(stopped, f"{name}: cannot be read")
        (stopped / name).write_bytes(content)
    completed("resume=run", cwd=stopped.parent)
    same_end(stopped, whole("run"))
