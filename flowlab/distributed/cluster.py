"""Ranks that Slurm or torchrun has started."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator

from flowlab.config.errors import ConfigError
from flowlab.config.schema import TrainerConfig
from flowlab.distributed.world import SINGLE_PROCESS, World, resolve_device
from flowlab.system.process import print_line

# Each launcher's command, a variable that it sets, and its variables for the number of ranks, in all and on a node.
LAUNCHERS = {
    "slurm": ("srun", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS_PER_NODE"),
    "torchrun": ("torchrun", "TORCHELASTIC_RUN_ID", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
}
OPTIONS = {"slurm": "--ntasks-per-node and --nodes of sbatch", "torchrun": "--nproc-per-node and --nnodes"}


@contextlib.contextmanager
def join_world(trainer: TrainerConfig) -> Iterator[World]:
    """Connect this process to the ranks that Slurm or torchrun has started; see check_started."""
    check_started(trainer)
    rank = find_rank(trainer)
    with rank.connect(resolve_device(trainer.accelerator, rank.local_rank)) as world:
        yield world


def find_rank(trainer: TrainerConfig) -> World:
    """This process among the ranks that a launcher has started; the environment then says where rank 0 is."""
    if trainer.launcher == "flowlab":
        return SINGLE_PROCESS
    if trainer.launcher == "torchrun":
        rank, size, local_rank = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
        return World(rank, size, local_rank)
    from pytorch_lightning.plugins.environments import SLURMEnvironment  # it reads Slurm's lists of nodes

    slurm = SLURMEnvironment(auto_requeue=False)
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = slurm.main_address, str(slurm.main_port)
    return World(slurm.global_rank(), slurm.world_size(), slurm.local_rank())


def check_started(trainer: TrainerConfig) -> None:
    """Check that the launcher of the configuration has started as many ranks as it says; else raise a ConfigError."""
    if trainer.launcher == "flowlab":
        return
    command, mark, world_size, local_world_size = LAUNCHERS[trainer.launcher]
    if mark not in os.environ:
        raise ConfigError(
            f"trainer.launcher={trainer.launcher}: {command} did not start this process; "
            f"run `{command} ... python experiments/train.py ...`, or use trainer=cpu or trainer=ddp"
        )
    started, local = int(os.environ[world_size]), int(os.environ.get(local_world_size, "1"))
    if (started, local) != (trainer.processes, trainer.devices):
        raise ConfigError(
            f"trainer.devices={trainer.devices}, trainer.nodes={trainer.nodes}: {command} has started {started} "
            f"processes, {local} on each node; set their number with {OPTIONS[trainer.launcher]}"
        )


def requeue_job() -> None:
    """Ask Slurm to queue this job again; Slurm then runs the same command from its start."""
    job = os.environ["SLURM_JOB_ID"]
    try:
        subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", "").strip() or error
        print_line(f"flowlab: job {job} cannot be requeued: {reason}; submit it again")
    else:
        print_line(f"flowlab: job {job} goes back into the queue")
