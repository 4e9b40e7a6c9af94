"""How training is asked to stop, by Ctrl-C or by a cluster: it does so between two steps, and saves where it is."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import pytorch_lightning as pl

from flowlab.training.world import ALONE, World

T = TypeVar("T")


class Preempted(KeyboardInterrupt):
    """A scheduler has said that it will take the machine away; the run goes on when it is started again."""


class Stopping(pl.Callback):
    """Hears the signals that ask training to stop; a second one takes effect at once.

    Python raises KeyboardInterrupt wherever it happens to be, and now and then that is inside a callback that drops it.
    Several ranks stop at the end of the same call from Lightning, whichever of them was asked.

    Arguments:
        world: the ranks.
        preemption: SIGUSR1 says that the machine will be taken away, as `sbatch --signal=USR1@60` has it.
    """

    def __init__(self, world: World = ALONE, preemption: bool = False) -> None:
        self.world = world
        self.signals = [signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR1] if preemption else [])]
        self.asked = 0  # the number of the signal

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # After Lightning's own handler, which would talk to the other ranks from wherever this one happens to be.
        if threading.current_thread() is threading.main_thread():  # signals reach no other
            for number in self.signals:
                signal.signal(number, self._ask)

    def until_asked(self, steps: Iterable[T]) -> Iterator[T]:
        """One step at least, and the others as long as nobody has asked for an end, or until all ranks have agreed."""
        for step in steps:
            yield step
            if self.asked and self.world.size == 1:
                return

    def agreed(self) -> bool:
        """Whether training is to stop, for all ranks."""
        self.asked = self.world.largest(self.asked)
        return bool(self.asked)

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Training, which raises what was asked of it at its end.

        Raises:
            KeyboardInterrupt: it was asked to stop.
            Preempted: and it should be started again.
        """
        before = {number: signal.getsignal(number) for number in self.signals}
        try:
            yield
        finally:
            if threading.current_thread() is threading.main_thread():
                for number, handler in before.items():
                    signal.signal(number, handler)
        if self.asked:
            raise Preempted if self.asked == signal.SIGUSR1 else KeyboardInterrupt

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = number


def requeue() -> None:
    """Ask Slurm to put this job back into its queue, from where it starts once more with the same command."""
    job = os.environ["SLURM_JOB_ID"]
    done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
    if done.returncode:
        print(f"flowlab: job {job} cannot be requeued: {done.stderr.strip()}; submit it again", file=sys.stderr)
    else:
        print(f"flowlab: job {job} goes back into the queue", file=sys.stderr)
