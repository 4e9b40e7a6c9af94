import io
import os
import pty
import re
import subprocess
import sys

from flowlab.system.process import print_line

# Python then buffers, so it would try to write the lost lines again at exit.
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
PROGRAM = "import sys, time\nfrom flowlab.system.process import print_line\n"


def test_a_closed_pipe_does_not_stop_a_process():
    code = PROGRAM + "print_line('first')\ntime.sleep(0.3)\nfor _ in range(3): print_line('more')"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env=BUFFERED)
    assert process.stderr.readline() == "first\n"
    process.stderr.close()
    assert process.wait(60) == 0


def test_full_disk_loses_only_the_line():
    code = PROGRAM + "print_line('lost', sys.stdout)\nprint_line('lost', sys.stdout)\nprint_line('printed')"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, env=BUFFERED
        )
    assert (done.returncode, done.stderr) == (0, "printed\n")


def test_a_line_is_a_single_write():
    """Two writes could mix with lines of a different process in the same log."""

    class Writes(io.RawIOBase):
        def __init__(self):
            self.received = []

        def writable(self):
            return True

        def write(self, content):
            self.received.append(bytes(content))
            return len(content)

    writes = Writes()
    print_line("a line", io.TextIOWrapper(writes, write_through=True))  # like stdout and stderr under PYTHONUNBUFFERED
    assert writes.received == [b"a line\n"]


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
