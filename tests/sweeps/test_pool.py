"""Work in processes: run, heard of, and ended with the process that began it."""

import os
import signal
import subprocess
import sys
import time

import pytest

from flowlab.sweeps.pool import run_pool


def square(number):
    return lambda send: [send(number), send(number**2)]


@pytest.mark.parametrize("processes", [1, 2])
def test_every_piece_is_heard_of_and_ends(processes):
    heard = [[] for _ in range(5)]
    run_pool([square(number) for number in range(5)], processes, lambda piece, what: heard[piece].append(what))
    assert heard == [[number, number**2, None] for number in range(5)]


def test_pieces_run_at_the_same_time_in_processes_of_their_own():
    """Each waits until the other has begun, which two in a row could not."""
    first, second = os.pipe(), os.pipe()

    def meet(mine, other):
        def piece(send):
            os.write(mine[1], b"x")
            os.read(other[0], 1)
            send(os.getpid())

        return piece

    heard = []
    run_pool([meet(first, second), meet(second, first)], 2, lambda piece, what: heard.append(what))
    identities = {what for what in heard if what is not None}
    assert len(identities) == 2
    assert os.getpid() not in identities


def test_a_piece_that_is_killed_does_not_stop_the_others():
    heard = []
    pieces = [lambda send: os.kill(os.getpid(), signal.SIGKILL), square(3), square(4)]
    run_pool(pieces, 2, lambda piece, what: heard.append((piece, what)))
    assert {(0, None), (1, 9), (1, None), (2, 16), (2, None)} <= set(heard)


AFTER_OPENMP = """
import torch
from flowlab.sweeps.pool import run_pool
def work(send):
    send(torch.randn(2000, 2000).tril().shape)
torch.set_num_threads(2)
work(lambda what: None)
run_pool([work, work], 2, lambda piece, what: print(what))
"""


def test_processes_do_not_wait_for_threads_that_the_fork_left_behind():
    """Where the parent has computed with several threads, GNU's OpenMP hangs in a child that does."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", AFTER_OPENMP], env=environment, capture_output=True, text=True, timeout=120
    )
    assert sorted(done.stdout.split("\n")) == ["", "None", "None", *["torch.Size([2000, 2000])"] * 2], done.stderr


PARENT = """
import os, time
from flowlab.sweeps.pool import run_pool
def work(send):
    send(os.getpid())
    time.sleep(60)
run_pool([work, work], 2, lambda piece, what: print(what, flush=True))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_end_with_the_one_that_began_them(how):
    """The parent alone prints: below PYTHONUNBUFFERED, a line is two writes, and those of two processes would mix."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    children = [int(parent.stdout.readline()) for _ in range(2)]
    parent.send_signal(how)
    parent.wait(timeout=30)
    for child in children:
        deadline = time.monotonic() + 30
        while _alive(child):
            assert time.monotonic() < deadline, "a process outlived the one that began it"
            time.sleep(0.02)
    parent.stdout.close()
    parent.stderr.close()


def _alive(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
