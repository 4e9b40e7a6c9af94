"""The processes that train a run together, as one of them sees them."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from pytorch_lightning.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from torch import Tensor

from flowlab.config.schemas import ConfigError, TrainerConfig

T = TypeVar("T")


class LostRankError(RuntimeError):
    """Another rank has ended before its time."""


OVER, FAILED = "over", "failed"  # what ranks say in the store: the first one is through; one has failed, and why
GRACE = 3.0  # seconds for the first rank to write down what all fail of, before one that fails ends
LAST_WORDS = 2.0  # seconds for a rank that has failed to say why
POLL = 0.05  # seconds


@dataclass(frozen=True)
class World:
    """This process among those that train a run together.

    A minibatch is the same however many they are; rank r of N takes its rows r::N.

    Attributes:
        rank: its number, from 0 to below `size`; the first one also writes.
        size: how many they are.
        local_rank: its number among those on the same machine, which is that of its device.
        store: where the ranks leave each other word, while they are connected.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    store: dist.Store | None = None

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """This rank's rows of some that all ranks have."""
        return rows[self.rank :: self.size]

    def whole(self, share: Tensor, count: int) -> Tensor:
        """What all ranks have computed of their shares of `count` rows, a number a row: those of all rows, in order."""
        if self.size == 1:
            return share
        values = share.new_zeros(count)
        values[self.rank :: self.size] = share
        dist.all_reduce(values)  # to each row all but one rank add zero
        return values

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the ranks of fresh values, which are changed; what follows of it is the same in each rank."""
        if self.size == 1:
            return values
        dist.all_reduce(values)
        return values / self.size

    def largest(self, *values: float) -> list[float]:
        """The largest of each of some numbers that every rank has."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return tensor.tolist()

    def of_the_first(self, make: Callable[[], T]) -> T:
        """What the first rank makes, for all of them.

        Raises:
            ConfigError: in each rank, where the first could not make it.
            LostRankError: in the others, where something else went wrong in the first.
        """
        made: Any = None
        failure: Exception | None = None
        if self.first:
            try:
                made = make()
            except Exception as error:
                failure = error
        if self.size > 1:
            word = [made, failure and str(failure), isinstance(failure, ConfigError)]
            dist.broadcast_object_list(word)
            made, why, mistake = word
            if why is not None and not self.first:
                failure = ConfigError(why) if mistake else LostRankError(f"rank 0: {why}")
        if failure is not None:
            raise failure
        return made

    def wait_for_the_first(self, seconds: float = math.inf) -> None:
        """In the other ranks, stay until the first one is through: who starts them may end all when one has ended.

        Where it dies without a word, its store is gone with it; a store that is not its own outlives it, as flowlab's
        and torchrun's do, but who keeps such a store ends the other ranks.
        """
        deadline = time.monotonic() + seconds
        with contextlib.suppress(RuntimeError):
            while not self.first and self.store and not self.store.check([OVER]) and time.monotonic() < deadline:
                time.sleep(POLL)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What the ranks do together.

        Raises:
            LostRankError: this one waited for another, which is gone.
        """
        try:
            yield
        except RuntimeError as error:
            if self.size > 1 and (isinstance(error, dist.DistError) or "gloo" in str(error)):
                raise LostRankError(self._what_failed()) from error
            raise

    def _what_failed(self) -> str:
        """What another rank says that it failed of; before long, or it was ended without a word."""
        assert self.store is not None
        deadline = time.monotonic() + LAST_WORDS
        while time.monotonic() < deadline:
            with contextlib.suppress(RuntimeError):  # the store may be gone with the first rank
                if self.store.check([FAILED]):
                    return self.store.get(FAILED).decode()
            time.sleep(POLL)
        return "another rank was ended from outside"

    @contextlib.contextmanager
    def connected(self, accelerator: str) -> Iterator[World]:
        """Connect the ranks to each other; the environment says where the first one is to be found.

        Arguments:
            accelerator: cpu or gpu: what they send to each other lies there.
        """
        if self.size == 1:
            yield self
            return
        if accelerator == "gpu":
            torch.cuda.set_device(self.local_rank)
        store, _, _ = next(dist.rendezvous("env://", self.rank, self.size))
        backend = "cpu:gloo,cuda:nccl" if accelerator == "gpu" else "gloo"
        dist.init_process_group(backend, store=dist.PrefixStore("group", store), rank=self.rank, world_size=self.size)
        world, failed = replace(self, store=store), False
        try:
            yield world
        except Exception as error:
            failed = True
            if not isinstance(error, LostRankError):
                world._say(FAILED, f"rank {self.rank}: {type(error).__name__}: {error}")
            raise
        finally:
            if self.first:
                world._say(OVER)
            if not failed or accelerator == "cpu":  # on GPUs it would wait for the others, which wait for this one
                dist.destroy_process_group()
            if failed:
                world.wait_for_the_first(GRACE)

    def _say(self, key: str, value: str = "") -> None:
        """Leave the others word, if the process that keeps the store is still there."""
        assert self.store is not None
        with contextlib.suppress(RuntimeError):
            self.store.set(key, value)


ALONE = World()


class Starter(NamedTuple):
    """A command that starts ranks, the variables in which it says so, and its options for their number."""

    command: str
    mark: str
    all_ranks: str
    ranks_of_a_node: str
    options: str


STARTERS = {
    "slurm": Starter(
        "srun",
        mark="SLURM_STEP_NUM_TASKS",
        all_ranks="SLURM_STEP_NUM_TASKS",
        ranks_of_a_node="SLURM_NTASKS_PER_NODE",
        options="--ntasks-per-node and --nodes of sbatch",
    ),
    "torchrun": Starter(
        "torchrun",
        mark="TORCHELASTIC_RUN_ID",
        all_ranks="WORLD_SIZE",
        ranks_of_a_node="LOCAL_WORLD_SIZE",
        options="--nproc-per-node and --nnodes",
    ),
}


@contextlib.contextmanager
def joined(trainer: TrainerConfig) -> Iterator[World]:
    """This process among the ranks that Slurm or torchrun has started, connected; alone, where flowlab starts them."""
    if trainer.started_by == "flowlab":
        yield ALONE
        return
    check_started(trainer)
    environment = cluster_environment(trainer)
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = environment.main_address, str(environment.main_port)
    world = World(environment.global_rank(), environment.world_size(), environment.local_rank())
    with world.connected(trainer.accelerator) as connected:
        yield connected


def cluster_environment(trainer: TrainerConfig) -> ClusterEnvironment:
    """What tells Lightning of the other ranks."""
    if trainer.started_by == "slurm":
        return SLURMEnvironment(auto_requeue=False)  # it would save and requeue in the midst of a step
    return TorchElasticEnvironment() if trainer.started_by == "torchrun" else LightningEnvironment()


def check_started(trainer: TrainerConfig) -> None:
    """See that the ranks were started as the configuration says.

    Raises:
        ConfigError: by something else, or not as many.
    """
    if trainer.started_by == "flowlab":
        return
    command, mark, all_ranks, ranks_of_a_node, options = STARTERS[trainer.started_by]
    if mark not in os.environ:
        raise ConfigError(
            f"trainer.started_by={trainer.started_by}: this process was not started by {command}, which goes before "
            f"the command: {command} ... python experiments/train.py ...; trainer=cpu and trainer=ddp do without"
        )
    started, here = int(os.environ[all_ranks]), int(os.environ.get(ranks_of_a_node, "1"))
    if (started, here) != (trainer.processes, trainer.devices):
        raise ConfigError(
            f"trainer.devices={trainer.devices}, trainer.nodes={trainer.nodes}: {command} has started {started} "
            f"processes, {here} on each node; how many there are is said with {options}"
        )
