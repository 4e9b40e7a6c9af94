"""Stop training between two steps when a signal asks for it, and save the state."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from flowlab.distributed.world import SINGLE_PROCESS, World
from flowlab.system.process import Preempted, handle_signals

T = TypeVar("T")

LONGEST_CALL = 1.0  # seconds between two moments at which several ranks agree whether to stop
REPEAT_TIMEOUT = 1.0  # seconds in which a repeated signal counts as the first: a launcher may pass it on twice


class GracefulStop:
    """Stop after the current step when a signal asks for it; a second signal interrupts at once.

    Python raises KeyboardInterrupt anywhere, sometimes where it is dropped, so the handler only notes the signal.
    Several ranks stop at the end of the same call, whichever of them received the signal.

    Arguments:
        world: the ranks.
        preemption: handle SIGUSR1, which announces that the machine will be taken away (`sbatch --signal=USR1@60`).

    Attributes:
        received: the number of the signal; 0 before there is one.
        steps: the largest number of steps in one call; None for a single process, which looks after each step.
    """

    def __init__(self, world: World = SINGLE_PROCESS, preemption: bool = False) -> None:
        self.world = world
        self.signals = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, *([signal.SIGUSR1] if preemption else [])]
        self.received = 0
        self.steps = None if world.size == 1 else 1
        self._received_at: float | None = None

    def iterate(self, steps: Iterable[T]) -> Iterator[T]:
        """Yield steps until a signal arrives, at least one; several ranks yield all steps and then agree."""
        for step in steps:
            yield step
            if self.received and self.world.size == 1:
                return

    def agree(self, seconds: float) -> bool:
        """Return whether training stops, the same answer in all ranks.

        Arguments:
            seconds: the duration of this rank's last step; the slowest rank sets the length of the next call.
        """
        received, seconds = self.world.all_reduce_max(self.received, seconds)
        self.steps = self.steps and max(1, int(LONGEST_CALL / seconds))
        self.received = int(received) or self.received  # a signal during the exchange counts at the next one
        return bool(received)

    @contextlib.contextmanager
    def raise_at_end(self) -> Iterator[None]:
        """Raise at the end of training what the signal asked for; rank 0 leaves first.

        Raises:
            KeyboardInterrupt: a signal stopped training.
            Preempted: the signal was SIGUSR1: the job should start again.
        """
        with handle_signals(dict.fromkeys(self.signals, self._receive)):
            yield
        self.world.wait_for_rank_zero()
        if self.received:
            raise Preempted if self.received == signal.SIGUSR1 else KeyboardInterrupt

    def _receive(self, number: int, frame: Any) -> None:
        now = time.monotonic()
        self._received_at = self._received_at or now
        if now - self._received_at > REPEAT_TIMEOUT:
            raise KeyboardInterrupt
        self.received = max(self.received, number)
