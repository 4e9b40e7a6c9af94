"""What is said while something is going on."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def say(line: str, stream: TextIO | None = None) -> None:
    """Print a line, on stderr unless another stream is given.

    Whoever has read it may be gone, as a terminal with its connection, or a log's disk may be full: that costs no run.
    The line is one write, where `print` below PYTHONUNBUFFERED makes two, which mix with those of other processes.
    """
    stream = stream or sys.stderr
    try:
        stream.write(f"{line}\n")
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # what the stream still holds would fail once more at the exit
        os.close(nowhere)
