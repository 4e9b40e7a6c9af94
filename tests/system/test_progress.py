"""Progress output of a run: a bar in a real terminal, lines elsewhere."""

import os
import pty
import re
import subprocess
import sys

QUICK = ["max_steps=400", "test_size=500", "validation_size=500", "batch_size=64", "flow.depth=2"]


def run_in_a_terminal(directory, *words):
    """Run a training in a terminal of 120 columns and return its output."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "120", "TERM": "xterm"}
    command = [sys.executable, "-m", "flowlab.cli.main", *QUICK, *words, f"hydra.run.dir={directory}"]
    process = subprocess.Popen(command, stderr=theirs, stdout=subprocess.DEVNULL, env=environment)
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end is closed
            part = b""
        if not part:
            break
        seen += part
    os.close(ours)
    assert process.wait() == 0, seen.decode()
    return seen.decode()


def test_terminal_shows_a_bar(tmp_path):
    seen = run_in_a_terminal(tmp_path / "run")
    assert "\u2501" in seen, "the bar is missing"
    assert "400/400" in seen
    last = re.findall(r"loss [\d.]+  nll [\d.]+  kl [\d.]+  \d+ steps/s", seen)
    assert last


def test_lines_are_printed_after_each_tenth_of_the_steps(tmp_path, capfd):
    from flowlab import compose, train

    train(
        compose(*QUICK, "trainer.progress=lines", "trainer.log_every=20", "trainer.validate_every=5"), tmp_path / "run"
    )
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("step")]
    assert [int(re.match(r"step +(\d+)/400", line)[1]) for line in lines] == list(range(40, 401, 40))
    assert all("steps/s" in line for line in lines)


def test_off_prints_nothing(tmp_path, capfd):
    from flowlab import compose, train

    train(compose(*QUICK, "trainer.progress=off"), tmp_path / "run")
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
