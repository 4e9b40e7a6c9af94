"""What a configuration may hold: the types and ranges behind the YAML of `conf/`. The values are in the YAML."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar


class ConfigError(ValueError):
    """A configuration that cannot be run: the message names the key, its value and what is allowed."""


class DataError(ConfigError):
    """A data file that cannot be used, with the reason and the remedy."""


def _at_least(minimum: float) -> Any:
    return field(metadata={"minimum": minimum})


def _above(bound: float, below: float = math.inf) -> Any:
    return field(metadata={"above": bound, "below": below})


def _one_of(*choices: str) -> Any:
    return field(metadata={"choices": choices})


@dataclass(kw_only=True)
class CustomConfig:
    """A class of the user's own; `flowlab.config.custom` derives from this one, with the parameters of its constructor."""

    group: ClassVar[str]
    name: str
    _target_: str

    def __reduce__(self) -> Any:
        from flowlab.config.custom import restore

        return restore, (self.group, asdict(self))


# --- targets ---------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class TargetConfig:
    name: str


@dataclass(kw_only=True)
class ExactTargetConfig(TargetConfig):
    train_size: int | None = _at_least(1)


@dataclass(kw_only=True)
class BananaConfig(ExactTargetConfig):
    curvature: float
    scale: float = _above(0)
    noise: float = _above(0)


@dataclass(kw_only=True)
class GaussianConfig(ExactTargetConfig):
    mean: list[float]
    factor: list[list[float]]


@dataclass(kw_only=True)
class UniformConfig(ExactTargetConfig):
    low: list[float]
    high: list[float]


@dataclass(kw_only=True)
class EightGaussiansConfig(ExactTargetConfig):
    radius: float = _above(0)
    scale: float = _above(0)


@dataclass(kw_only=True)
class CheckerboardConfig(ExactTargetConfig):
    pass


@dataclass(kw_only=True)
class TwoMoonsConfig(ExactTargetConfig):
    noise: float = _at_least(0.05)


@dataclass(kw_only=True)
class FunnelConfig(ExactTargetConfig):
    dim: int = field(metadata={"minimum": 2, "maximum": 1_000_000})
    scale: float = _above(0)


@dataclass(kw_only=True)
class FileConfig(TargetConfig):
    path: str
    columns: list[str] | None
    validation: float = _above(0, below=1)
    test: float = _above(0, below=1)
    split_seed: int = _at_least(0)
    standardize: bool


# --- everything else -------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class FlowConfig:
    """A chain of affine maps with an activation after each, except, unless `final_activation`, the last.

    `slope`, `slope_start` and `positive` are of the PReLUs, `smoothness` of the smooth one; tanh and sigmoid learn
    nothing, and these settings have no meaning there.
    """

    name: str
    depth: int = _at_least(1)
    rank: int = _at_least(0)
    scale: str = _one_of("tril", "diag")
    weighted: bool
    activation: str = _one_of("smooth_prelu", "prelu", "tanh", "sigmoid")
    slope: str = _one_of("scalar", "vector")
    slope_start: float = _above(0.01)
    positive: str = _one_of("softplus", "abs")
    smoothness: float = _above(0)
    final_activation: bool
    start: str = _one_of("near_identity", "glorot", "covering")


@dataclass(kw_only=True)
class ObjectiveConfig:
    name: str


@dataclass(kw_only=True)
class AdamConfig:
    name: str
    lr: float = _above(0)
    betas: list[float]
    eps: float = _above(0)
    schedule: str = _one_of("cosine", "constant")
    clip: float | None = _above(0)

    def __post_init__(self) -> None:
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"optimizer.betas={self.betas}: must be two numbers from 0 to below 1")


@dataclass(kw_only=True)
class TrainerConfig:
    accelerator: str = _one_of("cpu", "gpu")
    devices: int = _at_least(1)
    # Without these keys it is a run from before there was a choice.
    nodes: int = field(default=1, metadata={"minimum": 1})
    started_by: str = field(default="flowlab", metadata={"choices": ("flowlab", "slurm", "torchrun")})
    threads: int | None = field(metadata={"minimum": 1, "maximum": 1024})
    steps_per_call: int = _at_least(1)
    compile: str = field(default="false", metadata={"choices": ("auto", "true", "false")})
    precision: str = field(default="full", metadata={"choices": ("full", "bf16-mixed")})
    log_every: int = _at_least(1)
    validate_every: int = _at_least(1)
    patience: int | None = _at_least(1)
    checkpoint_every: int = field(metadata={"minimum": 1, "maximum": 1000})  # a killed run loses no more than this
    progress: str = _one_of("auto", "bar", "lines", "off")

    def __post_init__(self) -> None:
        if self.nodes > 1 and self.started_by == "flowlab":
            raise ConfigError(
                f"trainer.nodes={self.nodes}: processes on several machines are started by Slurm or torchrun: "
                "trainer=slurm or trainer=torchrun"
            )

    @property
    def processes(self) -> int:
        """How many train a run together."""
        return self.devices * self.nodes


@dataclass(kw_only=True)
class LoggerConfig:
    name: str


@dataclass(kw_only=True)
class PicturesConfig(LoggerConfig):
    """A logger that shows figures; without the key it is a run from before they were drawn while it trains."""

    figures_every: int | None = field(default=None, metadata={"minimum": 1})


@dataclass(kw_only=True)
class WandbConfig(PicturesConfig):
    project: str
    mode: str = _one_of("auto", "online", "offline", "disabled")
    run_name: str | None
    group: str | None
    tags: list[str]

    def __post_init__(self) -> None:
        if not all(self.tags):
            raise ConfigError(f"logger.tags={self.tags}: a tag must not be empty")
        if not self.project or set(self.project) & set("/\\#?%:"):
            raise ConfigError(f"logger.project={self.project!r}: must be a name without any of / \\ # ? % :")


@dataclass(kw_only=True)
class StackedLauncherConfig:
    """Hydra's node `hydra/launcher=stacked`.

    Attributes:
        processes: that train at once; null: as many as the machine has cores for.
        memory_gb: what a stack may take at most, in gigabytes; a larger one is split.
    """

    _target_: str = "hydra_plugins.flowlab_stacked_launcher.StackedLauncher"
    processes: int | None = field(default=None, metadata={"minimum": 1})
    memory_gb: float = field(default=2.0, metadata={"above": 0, "below": math.inf})


@dataclass(kw_only=True)
class Config:
    """One run."""

    seed: int = _at_least(0)
    max_steps: int = _at_least(1)
    batch_size: int = _at_least(1)
    dtype: str = _one_of("float32", "float64")
    validation_size: int = _at_least(2)
    test_size: int = _at_least(2)
    target: Any
    flow: Any
    objective: Any
    optimizer: Any
    trainer: Any
    logger: Any


# group -> name of the option -> its schema; a group whose options all share one schema has it under every name.
SCHEMAS: dict[str, dict[str, type]] = {
    "target": {
        "banana": BananaConfig,
        "gaussian": GaussianConfig,
        "uniform": UniformConfig,
        "eight_gaussians": EightGaussiansConfig,
        "checkerboard": CheckerboardConfig,
        "two_moons": TwoMoonsConfig,
        "funnel": FunnelConfig,
        "file": FileConfig,
        "custom": CustomConfig,
    },
    "flow": {"mlp": FlowConfig, "custom": CustomConfig},
    "objective": {"maximum_likelihood": ObjectiveConfig, "reverse_kl": ObjectiveConfig},
    "optimizer": {"adam": AdamConfig},
    "trainer": {"": TrainerConfig},
    "logger": {"csv": LoggerConfig, "tensorboard": PicturesConfig, "wandb": WandbConfig},
}
