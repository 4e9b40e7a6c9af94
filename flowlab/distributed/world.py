"""The processes that train a run together, seen from one of them: its device, its shard, and when all of them stop."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils import _pytree as pytree

from flowlab.config.errors import ConfigError
from flowlab.config.schema import TrainerConfig
from flowlab.system.process import Preempted, handle_signals

T = TypeVar("T")

DONE, FAILED = "done", "failed"  # keys in the store: rank 0 has finished; some rank has failed, and why
RANK_ZERO_TIMEOUT = 3.0  # seconds that a failed rank waits for rank 0 to record the error
REASON_TIMEOUT = 2.0  # seconds that a rank waits for the failed rank to give its reason
POLL = 0.05  # seconds
LONGEST_CALL = 1.0  # seconds between two moments at which several ranks agree whether to stop
REPEAT_TIMEOUT = 1.0  # seconds in which a repeated signal counts as the first: a launcher may pass it on twice


class LostRankError(RuntimeError):
    """A different rank has ended too early."""


def resolve_device(accelerator: str, local_rank: int = 0) -> torch.device:
    """Return the device of a rank: a GPU, by the rank's number on its machine, or the CPU.

    No other function interprets `trainer.accelerator`; "auto" takes a GPU where torch can use one.
    """
    if accelerator == "gpu" or (accelerator == "auto" and torch.cuda.is_available()):
        return torch.device("cuda", local_rank)
    return torch.device("cpu")


def check_gpus(trainer: TrainerConfig) -> None:
    """Check that this machine has the GPUs that the configuration asks for; else raise a ConfigError."""
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not available:
        raise ConfigError("trainer.accelerator=gpu: no GPU is usable on this machine; use trainer.accelerator=cpu")
    if trainer.devices > available:
        raise ConfigError(
            f"trainer.devices={trainer.devices}: this machine has only {available} GPUs; "
            f"use trainer.devices={available} or fewer"
        )


@dataclass(frozen=True)
class World:
    """The ranks of a run, seen from one of them.

    A minibatch does not depend on the number of ranks; rank r of N takes its rows r, r + N, r + 2N, ...

    Attributes:
        rank: this rank's number, from 0 to size - 1; only rank 0 writes files.
        size: the number of ranks.
        local_rank: this rank's number among the ranks of its machine.
        store: the key-value store that the ranks share while they are connected.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    store: dist.Store | None = None

    @property
    def is_rank_zero(self) -> bool:
        return self.rank == 0

    def shard(self, batch: T) -> T:
        """Return this rank's rows of a batch that all ranks hold: tensors of equal first dimension, in any nesting."""
        if self.size == 1:
            return batch
        return pytree.tree_map_only(Tensor, lambda rows: rows[self.rank :: self.size], batch)

    def all_gather(self, shard: Tensor, count: int) -> Tensor:
        """Return the values of all `count` rows, in order, from one number for each row of this rank's shard."""
        if self.size == 1:
            return shard
        values = shard.new_zeros(count)
        values[self.rank :: self.size] = shard
        dist.all_reduce(values)  # all ranks but one add zero to each row
        return values

    def all_reduce_mean(self, values: Tensor) -> Tensor:
        """Return the mean of a tensor over the ranks, the same bits in each; the tensor itself is overwritten."""
        if self.size == 1:
            return values
        dist.all_reduce(values)
        return values / self.size

    def all_reduce_max(self, *values: float) -> list[float]:
        """Return the maximum over the ranks of each value."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return tensor.tolist()

    def broadcast_from_rank_zero(self, make: Callable[[], T]) -> T:
        """Call a function in rank 0 and return its result in every rank.

        Raises:
            ConfigError: in every rank, if the function raised it in rank 0.
            LostRankError: in the other ranks, if the function raised anything else; rank 0 raises the original error.
        """
        if self.size == 1:
            return make()
        message: list[Any] = [None, None]  # the result, and the error of the other ranks
        failure: Exception | None = None
        if self.is_rank_zero:
            try:
                message[0] = make()
            except Exception as error:
                failure, is_known = error, isinstance(error, ConfigError)
                message[1] = ConfigError(str(error)) if is_known else LostRankError(f"rank 0: {error}")
        dist.broadcast_object_list(message)
        if message[1] is not None:
            raise failure or message[1]
        return message[0]

    def wait_for_rank_zero(self, seconds: float = math.inf) -> None:
        """Wait in the other ranks until rank 0 has finished: a launcher may end all ranks when one has ended.

        The wait also ends when the store is gone. Rank 0 may keep the store, so its death ends the wait. Where flowlab
        or torchrun keeps the store, it also ends the ranks.
        """
        deadline = time.monotonic() + seconds
        with contextlib.suppress(RuntimeError):
            while not self.is_rank_zero and self.store and not self.store.check([DONE]) and time.monotonic() < deadline:
                time.sleep(POLL)

    @contextlib.contextmanager
    def detect_lost_ranks(self) -> Iterator[None]:
        """Replace the error of a collective operation that lost its peer by a LostRankError that gives the reason."""
        try:
            yield
        except RuntimeError as error:
            if self.size > 1 and (isinstance(error, dist.DistError) or "gloo" in str(error)):
                raise LostRankError(self._read_failure()) from error
            raise

    def _read_failure(self) -> str:
        """Return the reason that the failed rank gives; a rank that was killed gives none."""
        assert self.store is not None
        deadline = time.monotonic() + REASON_TIMEOUT
        while time.monotonic() < deadline:
            with contextlib.suppress(RuntimeError):  # the store may have ended with rank 0
                if self.store.check([FAILED]):
                    return self.store.get(FAILED).decode()
            time.sleep(POLL)
        return "another rank was ended from outside"

    @contextlib.contextmanager
    def connect(self, device: torch.device) -> Iterator[World]:
        """Connect the ranks; MASTER_ADDR and MASTER_PORT give the address of the store."""
        if self.size == 1:
            yield self
            return
        if device.type == "cuda":
            torch.cuda.set_device(device)
        store, _, _ = next(dist.rendezvous("env://", self.rank, self.size))
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=dist.PrefixStore("group", store), rank=self.rank, world_size=self.size)
        world, failed = replace(self, store=store), False
        try:
            yield world
        except Exception as error:
            failed = True
            if not isinstance(error, LostRankError):
                world._write_to_store(FAILED, f"rank {self.rank}: {type(error).__name__}: {error}")
            raise
        finally:
            if self.is_rank_zero:
                world._write_to_store(DONE)
            if not failed or device.type == "cpu":  # NCCL would wait for the other ranks, which wait for this one
                dist.destroy_process_group()
            if failed:
                world.wait_for_rank_zero(RANK_ZERO_TIMEOUT)

    def _write_to_store(self, key: str, value: str = "") -> None:
        """Write to the store if the process that keeps it still runs."""
        assert self.store is not None
        with contextlib.suppress(RuntimeError):
            self.store.set(key, value)


SINGLE_PROCESS = World()


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

    def iterate(self, steps: Iterable[T], deadline: float = math.inf) -> Iterator[T]:
        """Yield steps until a signal arrives or the clock reaches the deadline, at least one.

        Several ranks yield all steps and then agree.
        """
        for step in steps:
            yield step
            if self.world.size == 1 and (self.received or time.perf_counter() >= deadline):
                return

    def agree(self, seconds: float) -> bool:
        """Return whether training stops, the same in all ranks; the slowest rank sets the length of the next call."""
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
