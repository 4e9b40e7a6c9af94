"""The processes that train a run together, as one of them sees them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from pytorch_lightning.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from torch import Tensor

from flowlab.schemas import ConfigError, TrainerConfig

T = TypeVar("T")


class LostRankError(RuntimeError):
    """Another rank has ended before its time."""


@dataclass(frozen=True)
class World:
    """This process among those that train a run together.

    A minibatch is the same however many they are; rank r of N takes its rows r::N.

    Attributes:
        rank: its number, from 0 to below `size`; the first one also writes.
        size: how many they are.
        local_rank: its number among those on the same machine, which is that of its device.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

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

    def largest(self, value: int) -> int:
        """The largest of a number that each rank has."""
        if self.size == 1:
            return value
        values = torch.tensor(value)
        dist.all_reduce(values, dist.ReduceOp.MAX)
        return int(values)

    def of_the_first(self, make: Callable[[], T]) -> T:
        """What the first rank makes, for all of them.

        Raises:
            ConfigError: in each rank, where the first could not make it.
        """
        made: list[Any] = [None, None]
        if self.first:
            try:
                made[0] = make()
            except ConfigError as error:
                made[1] = str(error)
        if self.size > 1:
            dist.broadcast_object_list(made)
        if made[1] is not None:
            raise ConfigError(made[1])
        return made[0]

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
                raise LostRankError(
                    f"rank {self.rank} of {self.size} waited for another, which has ended; why is in what that one said"
                ) from error
            raise

    @contextlib.contextmanager
    def connected(self, accelerator: str) -> Iterator[None]:
        """Connect the ranks to each other; the environment says where the first one is to be found.

        Arguments:
            accelerator: cpu or gpu: what they send to each other lies there.
        """
        if self.size == 1:
            yield
            return
        if accelerator == "gpu":
            torch.cuda.set_device(self.local_rank)
        backend = "cpu:gloo,cuda:nccl" if accelerator == "gpu" else "gloo"
        dist.init_process_group(backend, rank=self.rank, world_size=self.size)
        try:
            yield
        finally:
            dist.destroy_process_group()


ALONE = World()

# For each of those that can start ranks: its command, and the variable in which it says how many it has started.
STARTERS = {"slurm": ("srun", "SLURM_STEP_NUM_TASKS"), "torchrun": ("torchrun", "WORLD_SIZE")}


@contextlib.contextmanager
def joined(trainer: TrainerConfig) -> Iterator[World]:
    """This process among the ranks that Slurm or torchrun has started, connected; alone, where flowlab starts them."""
    if trainer.started_by == "flowlab":
        yield ALONE
        return
    environment = cluster_environment(trainer)
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = environment.main_address, str(environment.main_port)
    world = World(environment.global_rank(), environment.world_size(), environment.local_rank())
    with world.connected(trainer.accelerator):
        yield world


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
    command, variable = STARTERS[trainer.started_by]
    if variable not in os.environ:
        raise ConfigError(
            f"trainer.started_by={trainer.started_by}: this process was not started by {command}, which goes before "
            f"the command: {command} ... python experiments/train.py ..."
        )
    started = int(os.environ[variable])
    here = os.environ.get("SLURM_NTASKS_PER_NODE", "1") if command == "srun" else os.environ["LOCAL_WORLD_SIZE"]
    if (started, here) != (trainer.processes, str(trainer.devices)):
        asked = "with --ntasks-per-node and --nodes of sbatch" if command == "srun" else "with --nproc-per-node"
        raise ConfigError(
            f"trainer.devices={trainer.devices}, trainer.nodes={trainer.nodes}: {command} has started {started} "
            f"processes, {here} on each node; how many there are is said {asked}"
        )
