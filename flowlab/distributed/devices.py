"""The device of a rank."""

from __future__ import annotations

import torch

from flowlab.config.errors import ConfigError
from flowlab.config.schema import TrainerConfig


def resolve_device(accelerator: str, local_rank: int = 0) -> torch.device:
    """Return the device of a rank; no other function interprets `trainer.accelerator`.

    Arguments:
        accelerator: cpu, gpu, or auto, which takes a GPU where torch can use one and the CPU otherwise.
        local_rank: the rank's number on its machine, which is the number of its GPU.

    Example:
        >>> resolve_device("cpu", local_rank=1)
        device(type='cpu')
        >>> resolve_device("gpu", local_rank=1)
        device(type='cuda', index=1)
    """
    if accelerator == "gpu" or (accelerator == "auto" and torch.cuda.is_available()):
        return torch.device("cuda", local_rank)
    return torch.device("cpu")


def check_devices(trainer: TrainerConfig) -> None:
    """Check that this machine has the GPUs that the configuration asks for.

    Raises:
        ConfigError: the machine has no usable GPU, or fewer GPUs than `trainer.devices`.
    """
    if resolve_device(trainer.accelerator).type == "cpu":
        return
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not available:
        raise ConfigError("trainer.accelerator=gpu: no GPU is usable on this machine; use trainer.accelerator=cpu")
    if trainer.devices > available:
        raise ConfigError(
            f"trainer.devices={trainer.devices}: this machine has only {available} GPUs; "
            f"use trainer.devices={available} or fewer"
        )
