"""A run directory: begun, read, and refused where it would overwrite another."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from flowlab.config.compose import to_config, to_dict
from flowlab.config.schemas import Config, ConfigError, FileConfig
from flowlab.config.untrusted import read_plain_yaml
from flowlab.flow import Flow
from flowlab.flows.mlp import build_flow, check_flow
from flowlab.runs.checkpoint_contents import check_flow_in
from flowlab.runs.checkpoint_file import read_checkpoint
from flowlab.runs.provenance import provenance
from flowlab.system.files import part_path, read_json, write_json, write_text
from flowlab.system.lock import lock_directory
from flowlab.targets.base import Target
from flowlab.targets.build import build_target
from flowlab.targets.file import FileTarget
from flowlab.training.initial_flow import is_standardized

if TYPE_CHECKING:
    import pandas

# What a run has before it has begun, which it has with the last of the files that `begin` writes.
BEFORE_THE_BEGINNING = ("status.json", "provenance.json")


WEIGHTS = ("last", "best")


@dataclass(frozen=True)
class Run:
    """A run directory, read.

    Attributes:
        directory: where it lies.
        config: the configuration, checked against the types.
    """

    directory: Path
    config: Config

    @cached_property
    def flow(self) -> Flow:
        """The trained flow: with the weights that `result` was measured on, once there is a result."""
        return self.load_flow(self.result.get("weights", "last"))

    def load_flow(self, weights: str = "last") -> Flow:
        """The flow with the weights of a checkpoint, "last" or "best"; nothing in the file is executed."""
        checkpoint = self.checkpoint(weights)
        dim, dtype = checkpoint["flowlab"]["dim"], getattr(torch, self.config.dtype)
        try:
            check_flow(self.config.flow, dim, dtype)
            place = (torch.zeros(dim), torch.ones(dim)) if is_standardized(self.config) else None
            flow = build_flow(self.config.flow, dim, torch.Generator(), place, dtype)
            flow.load_state_dict(flow_weights(checkpoint))
        except (ConfigError, RuntimeError, KeyError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"{self.directory}: {weights}.ckpt does not fit config.yaml: {reason}") from None
        return flow

    @cached_property
    def target(self) -> Target:
        """What was modelled; for points of a file, the file must still be there, as it was."""
        target = build_target(self.config.target)
        check_data(self, target)
        return target

    @property
    def metrics(self) -> pandas.DataFrame:
        """metrics.csv: one row a step that was logged."""
        import pandas

        path = self.directory / "metrics.csv"
        try:
            return pandas.read_csv(path)
        except ValueError as error:
            raise ConfigError(f"{path}: cannot be read: {error}") from None

    @property
    def result(self) -> dict[str, Any]:
        """result.json: the final numbers; empty while there are none."""
        path = self.directory / "result.json"
        result = read_json(path)
        for name in ("nll", "nll_se", "kl", "kl_se", "entropy"):
            if not isinstance(result.get(name, None), float | int | None):
                raise ConfigError(f"{path}: {name}={result[name]!r}: must be a number")
        return result

    @property
    def status(self) -> dict[str, Any]:
        """status.json: running, done, failed or interrupted, with the error."""
        return read_json(self.directory / "status.json")

    @property
    def done(self) -> bool:
        """Whether it has come to its end."""
        return self.status.get("status") == "done"

    @property
    def provenance(self) -> dict[str, Any]:
        """provenance.json: code, versions, machine, command; the run's id and its sweep."""
        return read_json(self.directory / "provenance.json")

    def has_checkpoint(self, weights: str) -> bool:
        return self._checkpoint(weights).is_file()

    def checkpoint(self, weights: str) -> dict[str, Any]:
        """What a checkpoint holds, read without running anything in it."""
        path = self._checkpoint(weights)
        if weights not in WEIGHTS:  # result.json may say anything
            raise ConfigError(f"{weights!r}: no such checkpoint; there are {', '.join(WEIGHTS)}")
        if not path.is_file():
            raise ConfigError(f"{path}: no such checkpoint; the run has not saved one yet")
        try:
            checkpoint = read_checkpoint(path)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
        except ValueError:
            raise ConfigError(f"{path}: cannot be read: it is damaged; {self._without(weights)}") from None
        try:
            check_flow_in(checkpoint)
        except ValueError as error:
            raise ConfigError(f"{path}: is no checkpoint of a run: {error}; {self._without(weights)}") from None
        return checkpoint

    def _without(self, weights: str) -> str:
        """How to go on without a checkpoint."""
        if weights == "last" and self.has_checkpoint("best"):
            return "copy best.ckpt over it to go on from there, or remove both to begin again"
        return "remove the checkpoints, and the run begins again"

    def _checkpoint(self, weights: str) -> Path:
        return self.directory / "checkpoints" / f"{weights}.ckpt"

    def __repr__(self) -> str:
        result = self.result
        numbers = "".join(f", {name}={result[name]:.4f}" for name in ("nll", "kl") if result.get(name) is not None)
        return f"Run({self.status.get('status', 'unknown')}{numbers}, {str(self.directory)!r})"


def begin(config: Config, target: Target, directory: Path, group: str | None) -> Run:
    """Make a run directory with what is known before the first step.

    Raises:
        ConfigError: the directory holds something, another run has just begun in it, or it cannot be written.
    """
    check_directory(directory)
    config = located(config)
    record = provenance(config) | {"run_id": uuid.uuid4().hex[:8], "group": group}
    if isinstance(target, FileTarget):
        record["data_sha256"] = target.sha256
    run = Run(directory, config)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with lock_directory(directory):
            check_directory(directory)  # of two that start at once, the second finds what the first has written
            _clear(directory)
            try:
                write_json(directory / "status.json", {"status": "running"})
                write_json(directory / "provenance.json", record)
                write_config(run)  # last, since it is what makes a directory a run
            except OSError:
                _clear(directory)
                raise
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be written: {error.strerror}") from None
    return run


def _clear(directory: Path) -> None:
    """Remove what a run had that was killed, or failed, before it had begun."""
    for path in _before_the_beginning(directory):
        path.unlink(missing_ok=True)


def _before_the_beginning(directory: Path) -> set[Path]:
    whole = {directory / name for name in BEFORE_THE_BEGINNING}
    return whole | {part_path(path) for path in (*whole, directory / "config.yaml")}


def check_data(run: Run, target: Target) -> None:
    """Refuse points that are not those that a run began with.

    Raises:
        ConfigError: the file has changed.
    """
    if run.provenance.get("data_sha256") != getattr(target, "sha256", None):
        culprit = getattr(target, "path", f"{run.directory}/provenance.json: data_sha256")
        raise ConfigError(f"{culprit}: the file has changed since the run began; put it back, or start a new run")


def write_config(run: Run) -> None:
    """Write config.yaml."""
    write_text(run.directory / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(to_dict(run.config))))


def located(config: Config) -> Config:
    """The configuration with the path of its file made absolute: found again from wherever the run is resumed."""
    if not isinstance(config.target, FileConfig):
        return config
    return replace(config, target=replace(config.target, path=str(Path(config.target.path).resolve())))


def load_run(directory: str | Path) -> Run:
    """Read a run directory: the flow, the configuration, the metrics. Nothing in the directory is executed.

    Raises:
        ConfigError: the directory is not one of a run, or its configuration is damaged.
    """
    directory = Path(directory)
    path = directory / "config.yaml"
    if not path.is_file():
        begun = (directory / "status.json").is_file()
        remedy = "; the run ended before it had begun: start it again" if begun else ""
        raise ConfigError(f"{directory}: not a run directory: there is no config.yaml in it{remedy}")
    try:
        return Run(directory, to_config(read_plain_yaml(path)))
    except ConfigError as error:
        raise ConfigError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def check_directory(directory: Path) -> None:
    """Refuse a run directory that holds something, so that no run overwrites another.

    What is there of a run that was killed before it had begun is nothing.

    Raises:
        ConfigError: it is not empty, or not a directory.
    """
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"{directory}: is not a directory")
    if directory.exists() and set(directory.iterdir()) - _before_the_beginning(directory):
        raise ConfigError(
            f"{directory}: exists and is not empty; choose another directory, or go on with the run: resume={directory}"
        )


def default_directory(config: Config) -> Path:
    """A new directory under runs/, named after time, target and seed."""
    return Path("runs") / f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}_{config.target.name}_seed{config.seed}"


def flow_weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """The flow's part of a checkpoint of the Lightning module."""
    weights = checkpoint["state_dict"].items()
    return {name.removeprefix("flow."): value for name, value in weights if name.startswith("flow.")}
