"""The pool of processes: it runs work, receives messages, and ends with its parent process."""

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
def test_every_piece_sends_its_messages_and_ends(processes):
    sent = [[] for _ in range(5)]
    run_pool([square(number) for number in range(5)], processes, lambda piece, what: sent[piece].append(what))
    assert sent == [[number, number**2, None] for number in range(5)]


def test_pieces_run_concurrently_in_separate_processes():
    """Each piece waits until the other has begun, so one after the other would hang."""
    first, second = os.pipe(), os.pipe()

    def meet(mine, other):
        def piece(send):
            os.write(mine[1], b"x")
            os.read(other[0], 1)
            send(os.getpid())

        return piece

    sent = []
    run_pool([meet(first, second), meet(second, first)], 2, lambda piece, what: sent.append(what))
    identities = {what for what in sent if what is not None}
    assert len(identities) == 2
    assert os.getpid() not in identities


def test_killed_piece_does_not_stop_the_others():
    sent = []
    pieces = [lambda send: os.kill(os.getpid(), signal.SIGKILL), square(3), square(4)]
    run_pool(pieces, 2, lambda piece, what: sent.append((piece, what)))
    assert {(0, None), (1, 9), (1, None), (2, 16), (2, None)} <= set(sent)


AFTER_OPENMP = """
import torch
from flowlab.sweeps.pool import run_pool
def work(send):
    send(torch.randn(2000, 2000).tril().shape)
torch.set_num_threads(2)
work(lambda what: None)
run_pool([work, work], 2, lambda piece, what: print(what))
"""


def test_children_do_not_hang_after_the_parent_used_openmp():
    """GNU OpenMP hangs in a forked child that computes with several threads if its parent has done so before."""
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
def test_children_end_with_their_parent(how):
    """Only the parent prints: under PYTHONUNBUFFERED a line is two writes, and lines of two processes would mix."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    children = [int(parent.stdout.readline()) for _ in range(2)]
    parent.send_signal(how)
    parent.wait(timeout=30)
    for child in children:
        deadline = time.monotonic() + 30
        while _is_alive(child):
            assert time.monotonic() < deadline, "a child outlived its parent"
            time.sleep(0.02)
    parent.stdout.close()
    parent.stderr.close()


def _is_alive(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
