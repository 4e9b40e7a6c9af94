"""A run: one configuration trained into one directory, which can be resumed and loaded."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import traceback
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from torch import Tensor

from flowlab.architectures import build_flow, check_flow
from flowlab.config import Config, ConfigError, FileConfig, to_config, to_dict
from flowlab.files import write_json, write_text
from flowlab.flow import Flow
from flowlab.seeding import generator
from flowlab.supports import is_unbounded
from flowlab.targets.base import ExactTarget, Target
from flowlab.targets.build import build_target
from flowlab.targets.file import FileTarget
from flowlab.training.checkpoints import Checkpoints
from flowlab.training.divergence import DivergedError
from flowlab.training.evaluate import evaluate, gaussian_nll
from flowlab.training.loggers import check_logger, log_outcome, open_loggers
from flowlab.training.module import FlowModule
from flowlab.training.objective import MaximumLikelihood, Objective, ReverseKL
from flowlab.training.progress import progress_callback
from flowlab.training.provenance import provenance
from flowlab.training.stream import Stream, base_stream, data_stream


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
        checkpoint = self._checkpoint(weights)
        shape = checkpoint["flowlab"]
        place = (torch.zeros(shape["dim"]), torch.ones(shape["dim"])) if shape["standardized"] else None
        flow = build_flow(self.config.flow, shape["dim"], torch.Generator(), place, dtype(self.config))
        try:
            flow.load_state_dict(flow_weights(checkpoint))
        except RuntimeError as error:
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
        return pandas.read_csv(self.directory / "metrics.csv")

    @property
    def result(self) -> dict[str, Any]:
        """result.json: the final numbers; empty while there are none."""
        return _read_json(self.directory / "result.json")

    @property
    def status(self) -> dict[str, Any]:
        """status.json: running, done, failed or interrupted, with the error."""
        return _read_json(self.directory / "status.json")

    def _checkpoint(self, weights: str) -> dict[str, Any]:
        path = self.directory / "checkpoints" / f"{weights}.ckpt"
        if not path.is_file():
            raise ConfigError(f"{path}: no such checkpoint; the run has not saved one yet")
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever torch raises on a damaged or a foreign file
            raise ConfigError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None

    def __repr__(self) -> str:
        result = self.result
        numbers = "".join(f", {name}={result[name]:.4f}" for name in ("nll", "kl") if result.get(name) is not None)
        return f"Run({self.status.get('status', 'unknown')}{numbers}, {str(self.directory)!r})"


def train(config: Config, directory: str | Path | None = None, group: str | None = None) -> Run:
    """Train a flow: fit, evaluate, draw, save.

    Arguments:
        config: from `flowlab.compose`.
        directory: the run directory, new or empty; None makes one under `runs/`, named after time, target and seed.
        group: the sweep that the run belongs to, for Weights & Biases.

    Raises:
        ConfigError: a configuration that cannot be run, or a directory that holds something; nothing is written.
        DivergedError: the loss stopped being finite; the directory says so and keeps the last checkpoint.

    Example:
        >>> import flowlab, tempfile
        >>> cfg = flowlab.compose("max_steps=20", "test_size=1000", "trainer.progress=off")
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     run = flowlab.train(cfg, directory)
        ...     run.result["steps"]
        20
    """
    config = to_config(to_dict(config))  # values set from Python are checked as those from the shell are
    target = check_run(config)
    if isinstance(config.target, FileConfig):
        config.target.path = str(Path(config.target.path).resolve())  # to be found again, from wherever it is resumed
    directory = Path(directory) if directory is not None else default_directory(config)
    check_directory(directory)
    _claim(directory)
    record = provenance(config) | {"run_id": uuid.uuid4().hex[:8], "group": group}
    if isinstance(target, FileTarget):
        record["data_sha256"] = target.sha256
    write_json(directory / "provenance.json", record)
    # Last, since it is what makes a directory a run: one that was killed before this line holds nothing yet.
    write_text(directory / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(to_dict(config))))
    return _carry_out(Run(directory, config), target)


def resume(directory: str | Path) -> Run:
    """Go on with a run that was killed, interrupted or failed, from its last checkpoint.

    The end is the same, bit for bit, as if nothing had happened: the minibatch of a step is a function of the seed and
    the step, and everything else is in the checkpoint. A run that was killed before its first checkpoint starts again.

    Raises:
        ConfigError: no run directory, a run that is done already, or a data file that has changed since.
    """
    run = load_run(directory)
    if run.status.get("status") == "done":
        raise ConfigError(f"{directory}: this run is done already: {run!r}")
    if (run.directory / "checkpoints" / "last.ckpt").exists():
        run.load_flow("last")  # a damaged checkpoint is named before anything changes
    target = check_run(run.config)
    record = _read_json(run.directory / "provenance.json")
    if record.get("data_sha256", None) != getattr(target, "sha256", None):
        raise ConfigError(f"{run.config.target.path}: the file has changed since the run began; start a new run")
    record.setdefault("resumed", []).append(provenance(run.config))
    write_json(run.directory / "provenance.json", record)
    return _carry_out(run, target)


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
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except Exception as error:  # whatever the YAML parser raises on a damaged file
        raise ConfigError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: does not hold a configuration")
    return Run(directory, to_config({str(key): value for key, value in content.items()}))


def check_run(config: Config) -> Target:
    """Refuse what cannot be run, before anything is written; gives the target, since it had to be built for that.

    Raises:
        ConfigError: parts of the configuration that do not fit each other or this machine.
    """
    target = build_target(config.target)
    check_flow(config.flow, target.dim, dtype(config))
    if isinstance(target, FileTarget):
        target.check_precision(dtype(config))
    try:
        build_flow(config.flow, target.dim, torch.Generator(), dtype=dtype(config))
    except (ValueError, RuntimeError) as error:  # numbers that the configuration lets through and the type does not
        raise ConfigError(f"the flow cannot be built: {error}") from None
    check_logger(config)
    if config.objective.name == "reverse_kl":
        if not isinstance(target, ExactTarget) or not is_unbounded(target.support):
            raise ConfigError(
                f"objective=reverse_kl: needs a target whose density is known and positive everywhere; "
                f"target={config.target.name} has none; use objective=maximum_likelihood"
            )
        if target.train_size is not None:
            raise ConfigError("target.train_size: objective=reverse_kl trains on no data; leave it null")
    if config.trainer.accelerator == "gpu" and not torch.cuda.is_available():
        raise ConfigError("trainer.accelerator=gpu: no GPU can be used here; use trainer=cpu")
    return target


def check_directory(directory: Path) -> None:
    """Refuse a run directory that holds something, so that no run overwrites another.

    Raises:
        ConfigError: it is not empty, or not a directory.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ConfigError(
            f"{directory}: exists and is not empty; choose another directory, or go on with the run: resume={directory}"
        )


def _claim(directory: Path) -> None:
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


def dtype(config: Config) -> torch.dtype:
    return {"float32": torch.float32, "float64": torch.float64}[config.dtype]


def flow_weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """The flow's part of a checkpoint of the Lightning module."""
    weights = checkpoint["state_dict"].items()
    return {name.removeprefix("flow."): value for name, value in weights if name.startswith("flow.")}


def _carry_out(run: Run, target: Target) -> Run:
    """Fit, evaluate, draw and save, with the status file telling the truth at every moment."""
    status = run.directory / "status.json"
    write_json(status, {"status": "running"})
    try:
        with _quiet_lightning(), _threads(run.config.trainer.threads):
            _fit_and_evaluate(run, target)
    except (KeyboardInterrupt, SystemExit):
        write_json(status, {"status": "interrupted", "error": f"interrupted; go on with resume={run.directory}"})
        raise KeyboardInterrupt from None
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        write_json(status, {"status": "failed", "error": message, "traceback": traceback.format_exc()})
        raise
    write_json(status, {"status": "done"})
    return run


def _fit_and_evaluate(run: Run, target: Target) -> None:
    config, directory = run.config, run.directory
    device = "cuda" if config.trainer.accelerator == "gpu" else "cpu"
    place = None
    if isinstance(config.target, FileConfig) and isinstance(target, FileTarget) and config.target.standardize:
        place = target.mean, target.deviation
    flow = build_flow(config.flow, target.dim, generator(config.seed, "start"), place, dtype(config)).to(device)
    stream, objective = _what_to_minimise(config, flow, target, device)
    validation = target.rows("validation", config.validation_size, config.seed, dtype(config)).to(device)
    module = FlowModule(flow, stream, objective, config.optimizer, config.trainer, config.max_steps, target, validation)
    checkpoints = Checkpoints(directory / "checkpoints", config.trainer.checkpoint_every)
    last = directory / "checkpoints" / "last.ckpt"
    record = _read_json(directory / "provenance.json")
    with open_loggers(config, directory, record["run_id"], record["group"]) as loggers:
        trainer = pl.Trainer(
            max_steps=config.max_steps,
            accelerator=config.trainer.accelerator,
            devices=config.trainer.devices,
            logger=loggers,
            callbacks=[c for c in (checkpoints, progress_callback(config.trainer.progress)) if c is not None],
            default_root_dir=directory,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, ckpt_path=last if last.exists() else None, weights_only=True)
        flow.to(device)
        weights = "last"
        if (
            target.train_size is not None
        ):  # finite data can be learned by heart: take the weights that did best on others
            weights = "best"
            flow.load_state_dict(flow_weights(run._checkpoint("best")))
        result = _result(config, flow, target, device) | {
            "weights": weights,
            "best_step": checkpoints.best_step,
            "steps": trainer.global_step,
            "seconds": module.seconds,
            "steps_per_second": trainer.global_step / module.seconds,
        }
        if not math.isfinite(result["nll"]):
            raise DivergedError(
                f"training ended at step {trainer.global_step}, but the NLL of the test points is not finite"
            )
        from flowlab.plotting import run_figures, save_figure

        figures = run_figures(flow, target, run.metrics, config.seed)
        (directory / "figures").mkdir(exist_ok=True)
        for name, figure in figures.items():
            save_figure(figure, directory / "figures" / f"{name}.png")
        write_json(directory / "result.json", result)
        log_outcome(loggers, result, figures, trainer.global_step)


def _what_to_minimise(config: Config, flow: Flow, target: Target, device: str) -> tuple[Stream, Objective]:
    if config.objective.name == "reverse_kl":
        assert isinstance(target, ExactTarget)
        return base_stream(flow, config.seed, config.batch_size, device), ReverseKL(target)
    return data_stream(target, config.seed, config.batch_size, dtype(config), device), MaximumLikelihood()


def _result(config: Config, flow: Flow, target: Target, device: str) -> dict[str, Any]:
    """The final numbers, on test points that nothing before has seen."""
    test = target.rows("test", config.test_size, config.seed, torch.float64)
    train = target.rows("train", config.test_size, config.seed, torch.float64)
    measured = evaluate(flow, test.to(device, dtype(config)), target)
    result: dict[str, Any] = {
        "nll": measured.nll,
        "nll_se": measured.nll_se,
        "bits_per_dim": measured.bits_per_dim,
        "inverse_error": measured.inverse_error,
        "gaussian_nll": gaussian_nll(train, test),
        "test_points": len(test),
        "parameters": sum(parameter.numel() for parameter in flow.parameters()),
    }
    if target.entropy is not None:
        result |= {"entropy": target.entropy, "kl": measured.kl, "kl_se": measured.kl_se}
    return result


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Torch's number of threads, for the time of a run."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Lightning's notices about devices and data loaders say nothing here: keep them out for the time of a run."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            warnings.filterwarnings("ignore", module="lightning_fabric")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
