import io
import os
import subprocess
import sys

from flowlab.system.display import print_line

# Python then buffers, so it would try to write the lost lines again at exit.
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
PROGRAM = "import sys, time\nfrom flowlab.system.display import print_line\n"


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
