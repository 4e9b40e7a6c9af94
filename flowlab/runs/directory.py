"""A run directory: its configuration, flow, metrics and result, and its status, which is correct at every moment."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from flowlab.config.errors import ConfigError
from flowlab.config.paths import local_path
from flowlab.config.schema import Config, to_config
from flowlab.config.security import redact
from flowlab.config.untrusted import read_plain_yaml
from flowlab.flow import Flow
from flowlab.flows._assemble import assemble_again, shapes_of
from flowlab.runs.checkpoint import check_weights, flow_weights, read_checkpoint
from flowlab.system.files import (
    DISK_FULL,
    WriteError,
    check_not_replaced,
    lock_directory,
    overwrite_json,
    read_json,
    write_json,
)
from flowlab.targets.base import Target

if TYPE_CHECKING:
    import pandas

    from flowlab.tables.schema import Schema

WEIGHTS = ("last", "best")


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
        path = self.directory / "checkpoints" / f"{weights}.ckpt"
        if weights not in WEIGHTS:  # result.json may hold any word
            raise ConfigError(f"{weights!r}: no such checkpoint; allowed: {', '.join(WEIGHTS)}")
        if not path.is_file():
            raise ConfigError(f"{path}: no such checkpoint; the run has not saved one yet")
        remedy = "remove the checkpoints, and the run begins again"
        if weights == "last" and self.has_checkpoint("best"):
            remedy = "copy best.ckpt over it to resume from there, or remove both to begin again"
        try:
            checkpoint = read_checkpoint(path)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
        except ValueError:
            raise ConfigError(f"{path}: cannot be read: it is damaged; {remedy}") from None
        try:
            check_weights(checkpoint)
        except ValueError as error:
            raise ConfigError(f"{path}: is not a checkpoint of a run: {error}; {remedy}") from None
        return checkpoint

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


@contextlib.contextmanager
def track_status(*runs: Run, to_the_end: bool = True) -> Iterator[None]:
    """Record that runs are running, then how they end; an error is recorded and raised again.

    Arguments:
        runs: one run, or the runs of a stack.
        to_the_end: the runs are done when the block ends; otherwise more work follows.

    SystemExit is raised again as a KeyboardInterrupt; that and a WriteError say how to resume.
    """
    with contextlib.ExitStack() as locks:
        for run in runs:
            locks.enter_context(lock_directory(run.directory))
        _write_status(runs, status="running")
        try:
            yield
        except (KeyboardInterrupt, SystemExit) as stop:
            for run in runs:
                mark_interrupted(run)
            kind = type(stop) if isinstance(stop, KeyboardInterrupt) else KeyboardInterrupt
            raise kind(", ".join(f"resume={run.directory}" for run in runs)) from None
        except WriteError as error:
            for run in runs:
                error.advice = f"; when it can be, continue with resume={run.directory}"
                if not _write_if_possible(run, status="failed", error=str(error)):
                    error.advice += " (status.json cannot be written either, and still says running)"
            raise
        except Exception as error:
            for run in runs:
                _record_failure(run, error)
            raise
        if to_the_end:
            _write_status(runs, status="done")


def mark_interrupted(run: Run) -> None:
    """Record that a run was interrupted, if possible."""
    _write_if_possible(run, status="interrupted", error=f"interrupted; continue with resume={run.directory}")


def mark_failed(run: Run, error: BaseException) -> None:
    """Record that a run failed outside its training; raise ConfigError if another process works on the directory."""
    run.directory.mkdir(parents=True, exist_ok=True)
    with lock_directory(run.directory):
        _record_failure(run, error)


def _record_failure(run: Run, error: BaseException) -> None:
    message, trace = f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error))
    content = {"status": "failed", "error": redact(message)}
    if not _write_if_possible(run, **content, traceback=redact(trace)):
        _write_if_possible(run, **content)  # on a nearly full disk


def _write_if_possible(run: Run, **content: str) -> bool:
    """Record how a run has ended; gives False if that cannot be written either."""
    try:
        _write_status([run], **content)
    except WriteError:
        return False
    return True


def _write_status(runs: Sequence[Run], **content: str) -> None:
    for run in runs:
        check_not_replaced(run.directory)
        path = run.directory / "status.json"
        try:
            write_json(path, content)
        except WriteError as error:
            if error.errno not in DISK_FULL or not path.exists():
                raise
            overwrite_json(path, content)
