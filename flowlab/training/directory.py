"""A run directory: begun, read, and refused where it would overwrite another."""

from __future__ import annotations

import uuid
import warnings
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml
from omegaconf import OmegaConf
from torch import Tensor

from flowlab.architectures import build_flow, check_flow
from flowlab.config import to_config, to_dict
from flowlab.files import read_json, write_json, write_text
from flowlab.flow import Flow
from flowlab.schemas import Config, ConfigError, FileConfig
from flowlab.targets.base import Target
from flowlab.targets.build import build_target
from flowlab.targets.file import FileTarget
from flowlab.training.contents import check_flow_in
from flowlab.training.provenance import provenance

if TYPE_CHECKING:
    import pandas


DEEPEST = 20  # levels of a config.yaml; flowlab writes 4

FILES = (
    *("config.yaml", "status.json", "provenance.json", "result.json", "metrics.csv"),
    *("checkpoints/last.ckpt", "checkpoints/best.ckpt"),
)


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
        shape, dtype = checkpoint["flowlab"], getattr(torch, self.config.dtype)
        try:
            check_flow(self.config.flow, shape["dim"], dtype)
            place = (torch.zeros(shape["dim"]), torch.ones(shape["dim"])) if shape["standardized"] else None
            flow = build_flow(self.config.flow, shape["dim"], torch.Generator(), place, dtype)
            flow.load_state_dict(flow_weights(checkpoint))
        except (RuntimeError, ConfigError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"{self.directory}: {weights}.ckpt does not fit config.yaml: {reason}") from None
        return flow

    @cached_property
    def target(self) -> Target:
        """What was modelled; for points of a file, the file must still be there."""
        return build_target(self.config.target)

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
        if not path.is_file():
            raise ConfigError(f"{path}: no such checkpoint; the run has not saved one yet")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about files that are no checkpoints
                checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        except Exception:  # whatever torch raises on a damaged or a foreign file
            raise ConfigError(f"{path}: cannot be read: it is damaged; without it the run begins again") from None
        try:
            check_flow_in(checkpoint)
        except ValueError as error:
            raise ConfigError(f"{path}: is no checkpoint of a run: {error}; without it the run begins again") from None
        return checkpoint

    def _checkpoint(self, weights: str) -> Path:
        return self.directory / "checkpoints" / f"{weights}.ckpt"

    def __repr__(self) -> str:
        result = self.result
        numbers = "".join(f", {name}={result[name]:.4f}" for name in ("nll", "kl") if result.get(name) is not None)
        return f"Run({self.status.get('status', 'unknown')}{numbers}, {str(self.directory)!r})"


def begin(config: Config, target: Target, directory: Path, group: str | None) -> Run:
    """Make a run directory with what is known before the first step.

    Raises:
        ConfigError: the directory holds something, or cannot be made.
    """
    check_directory(directory)
    claim(directory)
    config = located(config)
    record = provenance(config) | {"run_id": uuid.uuid4().hex[:8], "group": group}
    if isinstance(target, FileTarget):
        record["data_sha256"] = target.sha256
    write_json(directory / "provenance.json", record)
    # Last, since it is what makes a directory a run: one that was killed before this line holds nothing yet.
    run = Run(directory, config)
    write_config(run)
    return run


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
        raise ConfigError(f"{directory}: not a run directory: there is no config.yaml in it")
    try:
        text = path.read_text(encoding="utf-8")
        _check_yaml(text)
        content = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except Exception as error:  # whatever the YAML parser raises on a damaged file
        raise ConfigError(f"{path}: cannot be read: {' '.join(str(error).split()) or 'no mapping'}") from None
    if not isinstance(content, dict) or not content:
        raise ConfigError(f"{path}: does not hold a configuration")
    try:
        return Run(directory, to_config({str(key): value for key, value in content.items()}))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _check_yaml(text: str) -> None:
    """Refuse what a few lines of YAML can make endless: values of values of values; no run has written such."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST or isinstance(event, yaml.AliasEvent):
            raise ValueError(f"line {event.start_mark.line + 1} holds an alias, or values {DEEPEST} levels deep")


def check_directory(directory: Path) -> None:
    """Refuse a run directory that holds something, so that no run overwrites another.

    Raises:
        ConfigError: it is not empty, or not a directory.
    """
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"{directory}: is not a directory")
    if directory.exists() and any(directory.iterdir()):
        raise ConfigError(
            f"{directory}: exists and is not empty; choose another directory, or go on with the run: resume={directory}"
        )


def check_files(run: Run) -> None:
    """See that what a run directory holds can be read and written again.

    Raises:
        ConfigError: something else lies where a file of the run belongs, such as a directory or a pipe.
    """
    for name in FILES:
        path = run.directory / name
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path}: is not a file; move it away")


def claim(directory: Path) -> None:
    """Make the run directory this run's own: of two that start at once, the second is refused.

    Raises:
        ConfigError: the directory cannot be made, or another run has just begun in it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with open(directory / "status.json", "x", encoding="utf-8") as file:
            file.write('{"status": "running"}\n')
    except FileExistsError:
        raise ConfigError(f"{directory}: another run has just begun here; choose another directory") from None
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be written: {error.strerror}") from None


def default_directory(config: Config) -> Path:
    """A new directory under runs/, named after time, target and seed."""
    return Path("runs") / f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}_{config.target.name}_seed{config.seed}"


def flow_weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """The flow's part of a checkpoint of the Lightning module."""
    weights = checkpoint["state_dict"].items()
    return {name.removeprefix("flow."): value for name, value in weights if name.startswith("flow.")}
