"""How training is asked to stop, by Ctrl-C or by a cluster: it does so between two steps, and saves where it is."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import pytorch_lightning as pl

from flowlab.distributed.world import ALONE, World
from flowlab.system.signals import Preempted, handled

T = TypeVar("T")

LONGEST_CALL = 1.0  # seconds, after which several ranks look again whether one of them was asked to stop
AT_ONCE = 1.0  # seconds after a signal in which another is not yet a second one: a launcher may pass it on twice


class Stopping(pl.Callback):
    """Hears the signals that ask training to stop; a second one takes effect at once.

    Python raises KeyboardInterrupt wherever it happens to be, and now and then that is inside a callback that drops it.
    Several ranks stop at the end of the same call from Lightning, whichever of them was asked.

    Arguments:
        world: the ranks.
        preemption: SIGUSR1 says that the machine will be taken away, as `sbatch --signal=USR1@60` has it.

    Attributes:
        steps: so many may a call of several ranks take; None where one is alone, which looks after each.
    """

    def __init__(self, world: World = ALONE, preemption: bool = False) -> None:
        self.world = world
        self.signals = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, *([signal.SIGUSR1] if preemption else [])]
        self.asked = 0  # the number of the signal
        self.steps = None if world.size == 1 else 1
        self._handlers = contextlib.ExitStack()
        self._heard_at: float | None = None

    # Lightning's own handler would talk to the other ranks from wherever this one happens to be. It is set between
    # these two; ours stands before it, since that is what Lightning puts back at its end, and over it.
    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._listen()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._listen()

    def _listen(self) -> None:
        self._handlers.enter_context(handled(dict.fromkeys(self.signals, self._ask)))

    def until_asked(self, steps: Iterable[T]) -> Iterator[T]:
        """One step at least, and the others as long as nobody has asked for an end, or until all ranks have agreed."""
        for step in steps:
            yield step
            if self.asked and self.world.size == 1:
                return

    def agreed(self, seconds: float) -> bool:
        """Whether training is to stop, for all ranks; the last step took so many seconds."""
        asked, seconds = self.world.largest(self.asked, seconds)
        self.steps = self.steps and max(1, int(LONGEST_CALL / seconds))
        self.asked = int(asked) or self.asked  # a signal may have come since, for the next time
        return bool(asked)

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Training, which raises what was asked of it at its end; the first rank is then the first to go on.

        Raises:
            KeyboardInterrupt: it was asked to stop.
            Preempted: and it should be started again.
        """
        with self._handlers:
            yield
        self.world.wait_for_the_first()
        if self.asked:
            raise Preempted if self.asked == signal.SIGUSR1 else KeyboardInterrupt

    def _ask(self, number: int, frame: Any) -> None:
        now = time.monotonic()
        self._heard_at = self._heard_at or now
        if now - self._heard_at > AT_ONCE:
            raise KeyboardInterrupt
        self.asked = max(self.asked, number)


def requeue() -> None:
    """Ask Slurm to put this job back into its queue, from where it starts once more with the same command."""
    job = os.environ["SLURM_JOB_ID"]
    try:
        subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "stderr", "").strip() or error
        print(f"flowlab: job {job} cannot be requeued: {why}; submit it again", file=sys.stderr)
    else:
        print(f"flowlab: job {job} goes back into the queue", file=sys.stderr)
