import io
import subprocess
import sys

from flowlab.system.terminal import say


def test_nobody_need_listen():
    code = "import time; from flowlab.system.terminal import say\nsay('first')\ntime.sleep(0.3)\nfor _ in range(3): say('more')"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert process.stderr.readline() == "first\n"
    process.stderr.close()
    assert process.wait(60) == 0


def test_a_full_disk_costs_what_is_said():
    code = "from flowlab.system.terminal import say\nimport sys\nsay('lost', sys.stdout)\nsay('lost', sys.stdout)\nsay('heard')"
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "heard\n")


def test_a_line_is_one_write():
    """Two would mix with those of another process that writes into the same log."""

    class Writes(io.RawIOBase):
        def __init__(self):
            self.heard = []

        def writable(self):
            return True

        def write(self, what):
            self.heard.append(bytes(what))
            return len(what)

    writes = Writes()
    say("a line", io.TextIOWrapper(writes, write_through=True))  # as stdout and stderr are below PYTHONUNBUFFERED
    assert writes.heard == [b"a line\n"]
