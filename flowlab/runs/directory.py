"""A run directory: how it begins, and what is in it: configuration, flow, metrics, result and status."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import OmegaConf

from flowlab.config.errors import ConfigError
from flowlab.config.paths import local_path
from flowlab.config.schema import Config, to_config
from flowlab.config.untrusted import read_plain_yaml
from flowlab.distributed.world import resolve_device
from flowlab.flow import Flow
from flowlab.flows._assemble import assemble_again, shapes_of
from flowlab.runs.checkpoint import flow_weights, load_checkpoint
from flowlab.system.files import lock_directory, part_path, read_json, write_json, write_text
from flowlab.system.process import origin
from flowlab.targets.base import Target

if TYPE_CHECKING:
    import pandas

    from flowlab.tables.schema import Schema

# Files that are written before config.yaml, which makes a directory a run.
EARLY = ("status.json", "provenance.json")


@dataclass(frozen=True)
class Run:
    """The contents of a run directory.

    Attributes:
        directory: the run directory.
        config: its configuration.
    """

    directory: Path
    config: Config

    @cached_property
    def flow(self) -> Flow:
        """The trained flow, with the weights that gave `result`, or the last weights before there is a result.

        Its parameters ask for no gradient, so log densities of many points take little memory; to train it further call
        `run.flow.requires_grad_()`, or take `run.load_flow()`.
        """
        return self.load_flow(self.result.get("weights", "last")).requires_grad_(False)

    def load_flow(self, weights: str = "last") -> Flow:
        """Load the flow of a checkpoint, "last" or "best", without executing code in the file."""
        checkpoint = self.checkpoint(weights)
        facts, dtype = checkpoint["flowlab"], getattr(torch, self.config.dtype)
        # Earlier versions had one target that is standardized, and its setting says whether it is.
        standardized = getattr(self.config.target, "standardize", False)
        robust = getattr(self.config.target, "robust", False)
        try:
            flow = assemble_again(self.config.flow, facts, standardized, robust, dtype)
        except (ValueError, TypeError) as error:  # a ConfigError is a ValueError
            raise self._does_not_fit(weights, error) from None
        self.load_weights(flow, weights, checkpoint)
        return flow

    def load_weights(self, flow: Flow, weights: str, checkpoint: dict[str, Any] | None = None) -> dict[str, Any]:
        """Load the weights of a checkpoint, which is read unless it is given, into a flow; gives the checkpoint."""
        checkpoint = checkpoint or self.checkpoint(weights)
        try:
            shape = shapes_of(checkpoint["flowlab"])[0]
            if shape != tuple(flow.event_shape):
                raise RuntimeError(f"points of shape {shape}, and not {tuple(flow.event_shape)}")
            flow.load_state_dict(flow_weights(checkpoint))
        except (RuntimeError, KeyError, TypeError, AttributeError) as error:
            raise self._does_not_fit(weights, error) from None
        return checkpoint

    def _does_not_fit(self, weights: str, error: Exception) -> ConfigError:
        reason = " ".join(str(error).split())
        return ConfigError(f"{self.directory}: {weights}.ckpt does not fit config.yaml: {reason}")

    @cached_property
    def target(self) -> Target:
        """The target; a data file must be unchanged."""
        target = self.config.target.build()
        check_data(self, target)
        return target

    @cached_property
    def schema(self) -> Schema | None:
        """The columns of the run's table with their kinds, read without its data; None if its target has no table."""
        from flowlab.tables.column import real_columns
        from flowlab.tables.schema import Schema

        record = self.provenance
        try:
            if "schema" in record:
                return Schema.from_dict(record["schema"])
            # Earlier versions had real columns alone, and recorded their names.
            return Schema(real_columns(record["columns"])) if record.get("columns") else None
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{self.directory}/provenance.json: schema: {error}; put the file back") from None

    @property
    def metrics(self) -> pandas.DataFrame:
        """metrics.csv: one row for each logged step."""
        import pandas

        path = self.directory / "metrics.csv"
        try:
            return pandas.read_csv(path)
        except ValueError as error:
            raise ConfigError(f"{path}: cannot be read: {error}") from None

    @property
    def result(self) -> dict[str, Any]:
        """result.json: the final metrics; empty before the run is done."""
        return read_result(self.directory / "result.json")

    @property
    def status(self) -> dict[str, Any]:
        """status.json: running, done, failed or interrupted, with the error."""
        return read_json(self.directory / "status.json")

    @property
    def done(self) -> bool:
        """Whether the run is done."""
        return self.status.get("status") == "done"

    @property
    def provenance(self) -> dict[str, Any]:
        """provenance.json: code, versions, machine, command, the run's id and its sweep."""
        return read_json(self.directory / "provenance.json")

    def has_checkpoint(self, weights: str) -> bool:
        """Whether a checkpoint has been written, "last" or "best"."""
        return (self.directory / "checkpoints" / f"{weights}.ckpt").is_file()

    def checkpoint(self, weights: str) -> dict[str, Any]:
        """Read a checkpoint without executing code in the file."""
        return load_checkpoint(self.directory, weights)

    def __repr__(self) -> str:
        result = self.result
        numbers = "".join(
            f", {name}={result[name]:.4f}" for name in ("nll", "kl", "elbo") if result.get(name) is not None
        )
        return f"Run({self.status.get('status', 'unknown')}{numbers}, {str(self.directory)!r})"


def read_result(path: Path) -> dict[str, Any]:
    """The content of a result.json; empty without the file."""
    result = read_json(path)
    for name in ("nll", "nll_se", "kl", "kl_se", "reverse_kl", "entropy", "elbo"):
        if not isinstance(result.get(name, None), float | int | None):
            raise ConfigError(f"{path}: {name}={result[name]!r}: must be a number")
    return result


def load_run(directory: str | Path) -> Run:
    """Read a run directory: its flow, configuration and metrics, without executing code in it.

    Raises:
        ConfigError: the directory is not a run directory, or its configuration is damaged.
    """
    directory = Path(local_path("directory", directory))
    path = directory / "config.yaml"
    if not path.is_file():
        raise ConfigError(f"{directory}: not a run directory: there is no config.yaml in it{_advise(directory)}")
    try:
        return Run(directory, to_config(read_plain_yaml(path)))
    except ConfigError as error:
        raise ConfigError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def _advise(directory: Path) -> str:
    """Return what to type instead of a directory that is no run."""
    if (directory / "status.json").is_file():
        return "; the run was killed before it began: start it again"
    if (directory / "manifest.json").is_file():
        return f"; it is a sweep: continue it with -m sweep_resume={directory}, read it with flowlab.load_sweep"
    for near in (*directory.parents, *sorted(directory.glob("*"))):
        if (near / "config.yaml").is_file() and (near / "status.json").is_file():
            return f"; did you mean {near}?"
    return ""


def check_data(run: Run, target: Target) -> None:
    """Raise ConfigError if a data file has changed since the run began."""
    if run.provenance.get("data_sha256") != target.fingerprint:
        culprit = getattr(target, "path", f"{run.directory}/provenance.json: data_sha256")
        raise ConfigError(f"{culprit}: the file has changed since the run began; put it back, or start a new run")


def begin(config: Config, target: Target, directory: Path, group: str | None) -> Run:
    """Make a run directory, with the files that are known before the first step.

    Raise ConfigError if the directory is not empty, another run has just begun in it, or it cannot be written.
    """
    check_directory(directory)
    config = with_absolute_paths(config)
    record = provenance(config) | {"run_id": uuid.uuid4().hex[:8], "group": group}
    if target.fingerprint is not None:
        record |= {"data_sha256": target.fingerprint, "columns": target.columns}
    if target.schema is not None:
        record |= {"schema": target.schema.to_dict()}
    run = Run(directory, config)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with lock_directory(directory):
            check_directory(directory)  # another process may have begun a run meanwhile
            _remove_early_files(directory)
            try:
                write_json(directory / "status.json", {"status": "running"})
                write_json(directory / "provenance.json", record)
                write_config(run)  # last: a directory with it is a run
            except OSError:
                _remove_early_files(directory)
                raise
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be written: {error.strerror}") from None
    return run


def _remove_early_files(directory: Path) -> None:
    """Remove the files of a run that was killed before its config.yaml was written."""
    for path in _early_files(directory):
        path.unlink(missing_ok=True)


def _early_files(directory: Path) -> set[Path]:
    complete = {directory / name for name in EARLY}
    return complete | {part_path(path) for path in (*complete, directory / "config.yaml")}


def write_config(run: Run) -> None:
    """Write config.yaml."""
    write_text(run.directory / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(run.config.to_dict())))


def with_absolute_paths(config: Config) -> Config:
    """The configuration with absolute paths, so a run finds its files from any working directory."""
    return replace(config, target=config.target.with_absolute_paths())


def check_directory(directory: Path) -> None:
    """Raise ConfigError unless a run directory is new or empty, so no run overwrites another.

    Files that a run leaves when it is killed before its config.yaml is written do not count.
    """
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"{directory}: is not a directory")
    if directory.exists() and set(directory.iterdir()) - _early_files(directory):
        raise ConfigError(
            f"{directory}: exists and is not empty; choose another directory, or continue the run: resume={directory}"
        )


def provenance(config: Config) -> dict[str, Any]:
    """The origin of a run and the settings of its machine, as plain data."""
    gpu = resolve_device(config.trainer.accelerator).type == "cuda" and torch.cuda.is_available()
    return {
        **origin(),
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "processes": config.trainer.processes,
        "threads": config.trainer.threads,
        "seed": config.seed,
    }
