"""The configuration of one run: its components, and the settings that belong to none."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from flowlab.config.errors import ConfigError
from flowlab.config.fields import setting

# A run has one component of each of these groups, and several loggers.
COMPONENTS = ("target", "flow", "objective", "optimizer")
# The trainer's settings of where a run computes, on which its numbers depend by rounding alone.
WHERE = ("accelerator", "devices", "nodes", "launcher", "threads")


@dataclass(kw_only=True)
class TrainerConfig:
    """Settings of training. Results depend on `precision`, on `compile` up to rounding, and on no other of them."""

    accelerator: str = setting("cpu", choices=("cpu", "gpu", "auto"))
    devices: int = setting(1, minimum=1)
    nodes: int = setting(1, minimum=1)
    launcher: str = setting("flowlab", choices=("flowlab", "slurm", "torchrun"))
    threads: int | None = setting(1, minimum=1, maximum=1024)
    steps_per_call: int = setting(100, minimum=1)
    compile: str = setting("auto", choices=("auto", "true", "false"))
    precision: str = setting("full", choices=("full", "bf16-mixed"))
    log_every: int = setting(100, minimum=1)
    validate_every: int = setting(200, minimum=1)
    patience: int | None = setting(10, minimum=1)
    checkpoint_every: int = setting(1000, minimum=1, maximum=1000)  # so a killed run loses at most 1000 steps
    progress: str = setting("auto", choices=("auto", "bar", "lines", "off"))

    def __post_init__(self) -> None:
        if self.nodes > 1 and self.launcher == "flowlab":
            raise ConfigError(
                f"trainer.nodes={self.nodes}: processes on several machines are started by Slurm or torchrun: "
                "trainer=slurm or trainer=torchrun"
            )

    @property
    def processes(self) -> int:
        """The number of processes that train a run together."""
        return self.devices * self.nodes


@dataclass(kw_only=True)
class RunConfig:
    """The settings of a run outside any group."""

    seed: int = setting(0, minimum=0, per_job=True)
    max_steps: int = setting(10_000, minimum=1)
    batch_size: int = setting(512, minimum=1)
    dtype: str = setting("float32", choices=("float32", "float64"))
    validation_size: int = setting(10_000, minimum=2)
    test_size: int = setting(100_000, minimum=2)
    metrics: list[str] = setting([], may_be_empty=True)


@dataclass(kw_only=True)
class Config(RunConfig):
    """One run.

    Attributes:
        target, flow, objective, optimizer: the components.
        trainer: the settings of training.
        logger: the loggers by name.
    """

    target: Any
    flow: Any
    objective: Any
    optimizer: Any
    trainer: TrainerConfig
    logger: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain dicts, lists, numbers and strings."""
        values = {name: getattr(self, name) for name in RunConfig.__dataclass_fields__}
        values |= {group: getattr(self, group).to_dict() for group in COMPONENTS}
        values["trainer"] = asdict(self.trainer)
        values["logger"] = {name: logger.to_dict() for name, logger in self.logger.items()}
        return values


@dataclass(kw_only=True)
class StackedLauncherConfig:
    """Hydra's node `hydra/launcher=stacked`.

    Attributes:
        processes: the number of processes; null means one for each core.
        memory_gb: the largest stack, in gigabytes of memory; a larger one is split.
    """

    _target_: str = "hydra_plugins.flowlab_stacked_launcher.StackedLauncher"
    processes: int | None = setting(None, minimum=1)
    memory_gb: float = setting(2.0, above=0, below=math.inf)
