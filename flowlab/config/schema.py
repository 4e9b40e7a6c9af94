"""The configuration of one run, and plain values as a configuration, checked against the types and ranges of its keys.

Nothing here imports torch, so an error is shown at once.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from flowlab.config.component import Settings, as_plain, as_typed, setting
from flowlab.config.errors import ConfigError
from flowlab.config.registry import find_component, lookup, not_an_option
from flowlab.config.security import check_written

# A run has one component of each of these groups, and several loggers.
COMPONENTS = ("target", "flow", "objective", "optimizer")
# The trainer's settings of where a run computes, on which its numbers depend by rounding alone.
WHERE = ("accelerator", "devices", "nodes", "launcher", "threads")
# The present key for each old one.
OLD_KEYS = {
    "flow.start": "flow.initialization",
    "flow.slope_start": "flow.initial_slope",
    "trainer.started_by": "trainer.launcher",
}

ESCAPED = "must not hold ${ once every ${...} is replaced; leave out the backslash, or choose other characters"


@dataclass(kw_only=True)
class TrainerConfig(Settings):
    """Settings of training.

    Results depend on `precision`, on `compile` up to rounding, on `max_time`, for finite data on `validate_every` and
    `patience`, and on no other of them.
    """

    accelerator: str = setting("cpu", choices=("cpu", "gpu", "auto"))
    devices: int = setting(1, minimum=1)
    nodes: int = setting(1, minimum=1)
    launcher: str = setting("flowlab", choices=("flowlab", "slurm", "torchrun"))
    threads: int | None = setting(1, minimum=1, maximum=1024)
    steps_per_call: int = setting(100, minimum=1)
    compile: str = setting("auto", choices=("auto", "true", "false"))
    precision: str = setting("full", choices=("full", "bf16-mixed"))
    log_every: int = setting(100, minimum=1)
    validate_every: int = setting(200, minimum=1, follows_data=True)
    patience: int | None = setting(10, minimum=1)
    max_time: float | None = setting(None, above=0)
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
class RunConfig(Settings):
    """The settings of a run outside any group."""

    seed: int = setting(0, minimum=0, per_job=True)
    max_steps: int = setting(10_000, minimum=1, follows_data=True)
    batch_size: int = setting(512, minimum=1, follows_data=True)
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

    @property
    def waits_for_data(self) -> bool:
        """Whether a setting that follows the data is null; see `flowlab.training.follow_data`."""
        return any(
            getattr(part, item.name) is None and item.metadata.get("follows_data")
            for part in (self, self.flow, self.optimizer, self.trainer)
            for item in fields(part)
        )

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain dicts, lists, numbers and strings."""
        values = {name: getattr(self, name) for name in RunConfig.__dataclass_fields__}
        parts = {group: getattr(self, group) for group in COMPONENTS} | self.logger
        for group, part in (parts | {"trainer": self.trainer}).items():
            if not isinstance(part, Settings):  # in Python a field may have been set to any value
                raise not_an_option(group, part)
        values |= {group: parts[group].to_dict() for group in COMPONENTS}
        values["trainer"] = asdict(self.trainer)
        values["logger"] = {name: logger.to_dict() for name, logger in self.logger.items()}
        return values


def to_config(composed: DictConfig | dict[str, Any]) -> Config:
    """Check a composed configuration by its components; raise ConfigError if a value is missing, unknown or wrong."""
    values = OmegaConf.create(as_plain(composed)) if isinstance(composed, dict) else composed.copy()
    OmegaConf.set_struct(values, False)
    values.pop("hydra", None)
    try:
        OmegaConf.resolve(values)
    except (InterpolationResolutionError, RecursionError) as error:
        raise ConfigError(f"{_unresolvable(values)}: {str(error).splitlines()[0]}") from None
    plain = rename_keys(OmegaConf.to_container(values))  # type: ignore[arg-type]
    for key, value in flat(plain).items():
        if "${" in str(value):  # a run directory holds plain values; it could not be read again
            raise ConfigError(f"{key}={value!r}: {ESCAPED}")
    check_written(plain)
    found = {group: find_component(group, plain.pop(group, None), group) for group in COMPONENTS}
    loggers, trainer = plain.pop("logger", None), plain.pop("trainer", None)
    if not isinstance(loggers, dict) or not all(isinstance(node, dict) for node in loggers.values()):
        raise not_an_option("logger", loggers)
    if not isinstance(trainer, dict):
        raise not_an_option("trainer", trainer)
    sinks = {name: find_component("logger", node, f"logger.{name}") for name, node in loggers.items()}
    built: dict[str, Any] = {group: as_typed(*found[group], f"{group}.") for group in COMPONENTS}
    built["logger"] = {name: as_typed(*sinks[name], f"logger.{name}.") for name in sinks}
    built["trainer"] = as_typed(TrainerConfig, trainer, "trainer.")
    top = as_typed(RunConfig, plain, "")
    for name in top.metrics:
        lookup("metric", name, "metrics")
    config = Config(**asdict(top), **built)
    config.close_keys("")
    return config


def check_again(config: Config, where: str) -> Config:
    """Check a configuration of a caller, who may have set a field to any value; raise ConfigError for its mistakes."""
    if not isinstance(config, Config):
        raise ConfigError(
            f"{where}: config is a {type(config).__name__} and must come from flowlab.compose; to train a flow that is "
            "built already, use flowlab.fit"
        )
    return to_config(config.to_dict())


def _unresolvable(values: DictConfig) -> str:
    """The first key whose interpolation has no value."""
    for key, value in flat(OmegaConf.to_container(values, resolve=False)).items():  # type: ignore[arg-type]
        try:
            found = OmegaConf.select(values, key)
            OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else None
        except (OmegaConfBaseException, RecursionError):
            return f"{key}={value}"
    return "an interpolation"


def rename_keys(values: dict[str, Any]) -> dict[str, Any]:
    """Replace old keys in a configuration of any version."""
    values = {key: dict(value) if isinstance(value, dict) else value for key, value in values.items()}
    logger = values.get("logger")
    if isinstance(logger, dict) and isinstance(logger.get("name"), str):  # the only one
        values["logger"] = {logger["name"]: logger}
    for old, new in OLD_KEYS.items():
        group, _, key = old.partition(".")
        if isinstance(values.get(group), dict) and key in values[group]:
            values[group][new.partition(".")[2]] = values[group].pop(key)
    if isinstance(values.get("trainer"), dict):
        values["trainer"].setdefault("compile", "false")  # in a configuration older than this key
    if isinstance(values.get("target"), dict) and values["target"].get("name") == "file":
        values["target"].setdefault("header", "words")
    return values


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten a nested configuration: its values by dotted names.

    Example:
        >>> from flowlab.config.schema import flat
        >>> flat({"seed": 0, "flow": {"depth": 2, "rank": 1}})
        {'seed': 0, 'flow.depth': 2, 'flow.rank': 1}
    """
    named: dict[str, Any] = {}
    for name, value in values.items():
        named |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return named
