"""A run: one configuration trained into one directory, to the end or from where it was stopped."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy

from flowlab.config import to_config, to_dict
from flowlab.files import beside, write_json
from flowlab.flow import Flow
from flowlab.schemas import Config, ConfigError
from flowlab.targets.base import ExactTarget, Target
from flowlab.training.check import check_run
from flowlab.training.checkpoints import Checkpoints, Saving
from flowlab.training.compiled import choose
from flowlab.training.directory import Run, begin, default_directory, load_run, located
from flowlab.training.figures import Figures
from flowlab.training.loggers import open_loggers
from flowlab.training.module import FlowModule
from flowlab.training.objective import MaximumLikelihood, Objective, ReverseKL
from flowlab.training.outcome import write_outcome
from flowlab.training.progress import announce, progress_callback
from flowlab.training.provenance import provenance
from flowlab.training.ranks import train_on_ranks
from flowlab.training.record import Record
from flowlab.training.start import initial_flow
from flowlab.training.status import fail, locked, told
from flowlab.training.stream import Stream, base_stream, data_stream
from flowlab.training.surroundings import interruptible, quiet_lightning, threads


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
    directory = Path(directory) if directory is not None else default_directory(config)
    return carry_out(begin(config, target, directory, group), target)


def resume(directory: str | Path) -> Run:
    """Go on with a run that was killed, interrupted or failed, from its last checkpoint.

    The end is the same, bit for bit, as if nothing had happened: the minibatch of a step is a function of the seed and
    the step, and everything else is in the checkpoint. A run that was killed before its first checkpoint starts again.

    Raises:
        ConfigError: no run directory, a run that is done already, or a data file that has changed since.
    """
    run = load_run(directory)
    if run.done:
        raise ConfigError(f"{directory}: this run is done already: {run!r}")
    return carry_out(run, reopen(run))


def complete(config: Config, directory: Path, group: str | None = None) -> Run:
    """See that a job of a sweep gets done: trained, gone on with, or left as it is when it is done already.

    Arguments:
        config: of the job; a run that has begun in the directory must have the same.
        directory: the run directory: new, empty, or of this job's run.
        group: the sweep that the run belongs to.

    Raises:
        ConfigError: as `train` and `resume` do.
        DivergedError: as `train` does.
    """
    run = begun(directory, config)
    try:
        if run is None:
            return train(config, directory, group)
        return run if run.done else carry_out(run, reopen(run))
    except ConfigError as error:
        # It may be this machine that cannot run it; whoever reads the sweep elsewhere finds out why from its directory.
        with contextlib.suppress(ConfigError, OSError):
            fail(Run(directory, located(config)), error)
        raise


def begun(directory: Path, config: Config) -> Run | None:
    """The run of a job's directory, if it has one; what a kill left before there was a configuration is cleared away.

    Raises:
        ConfigError: the run there is another, or is damaged, or another process works on the directory.
    """
    if (directory / "config.yaml").is_file():
        run = load_run(directory)
        if run.config != located(config):
            raise ConfigError(f"{directory}: holds a run of another configuration; choose another directory")
        return run
    if directory.is_dir():
        with locked(directory):
            for name in ("status.json", "provenance.json"):
                for path in (directory / name, beside(directory / name), beside(directory / "config.yaml")):
                    path.unlink(missing_ok=True)
    return None


def reopen(run: Run) -> Target:
    """See that a run can go on, and write down in its provenance that it does; gives its target.

    Raises:
        ConfigError: a damaged checkpoint, a data file that has changed since, or another process on the directory.
    """
    if run.has_checkpoint("last"):
        run.load_flow("last")  # a damaged checkpoint is named before anything changes
    target = check_run(run.config)
    record = run.provenance
    if record.get("data_sha256", None) != getattr(target, "sha256", None):
        raise ConfigError(f"{run.config.target.path}: the file has changed since the run began; start a new run")
    record.setdefault("resumed", []).append(provenance(run.config))
    try:
        with locked(run.directory):
            write_json(run.directory / "provenance.json", record)
    except OSError as error:
        raise ConfigError(f"{run.directory}: cannot be written: {error.strerror}") from None
    return target


def carry_out(run: Run, target: Target, progress: pl.Callback | None = None) -> Run:
    """Fit, evaluate, draw and save, from the last checkpoint if there is one.

    Arguments:
        run: begun.
        target: what it models.
        progress: shows how far it is; None is what the configuration asks for.
    """
    if progress is None:
        announce(choose(run.config), run.config.trainer.progress)
    with told(run):
        if run.config.trainer.devices > 1:
            train_on_ranks(run)
        else:
            with quiet_lightning(), threads(run.config.trainer.threads):
                fit(run, target, progress or progress_callback(run.config.trainer.progress))
    return run


def fit(run: Run, target: Target, progress: pl.Callback | None, rank: int = 0) -> None:
    """Train a run in this process, alone or as one of its ranks; the first of these evaluates, draws and saves."""
    config, directory = run.config, run.directory
    device = device_of(config, rank)
    flow = initial_flow(config, target).to(device)
    stream, objective = what_to_minimise(config, flow, target, device)
    record = new_record(config, target, device)
    module = FlowModule(flow, stream, objective, config, record)
    saving = Saving(config, directory / "checkpoints")
    callbacks = [Checkpoints(saving, record), Figures(run, target), *([progress] if progress else [])]
    with contextlib.ExitStack() as surroundings:
        loggers = surroundings.enter_context(open_loggers(run)) if rank == 0 else []
        trainer = pl.Trainer(
            max_steps=config.max_steps,
            accelerator=config.trainer.accelerator,
            devices=config.trainer.devices,
            strategy=DDPStrategy() if config.trainer.devices > 1 else "auto",
            plugins=[LightningEnvironment()],  # the ranks are ours, whatever else started this process
            logger=loggers,
            callbacks=callbacks,
            default_root_dir=directory,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        last = directory / "checkpoints" / "last.ckpt"
        with interruptible():
            trainer.fit(module, ckpt_path=last if last.exists() else None, weights_only=True)
        training = {
            "steps": trainer.global_step,
            "best_step": saving.best_step,
            "compiled": module.compiled is not None,
            "seconds": record.seconds,
            "steps_per_second": trainer.global_step / record.seconds,
        }
        if rank == 0:
            write_outcome(run, flow.to(device), target, training, loggers)


def device_of(config: Config, rank: int = 0) -> str:
    """Where a rank computes."""
    return f"cuda:{rank}" if config.trainer.accelerator == "gpu" else "cpu"


def new_record(config: Config, target: Target, device: str) -> Record:
    """The record of a run, with its held-out points."""
    points = target.rows("validation", config.validation_size, config.seed, getattr(torch, config.dtype))
    return Record(config, target, points.to(device))


def what_to_minimise(config: Config, flow: Flow, target: Target, device: str) -> tuple[Stream, Objective]:
    """The minibatches and the loss of a configuration."""
    if isinstance(target, ExactTarget):
        target.to_(device)
    if config.objective.name == "reverse_kl":
        assert isinstance(target, ExactTarget)
        return base_stream(flow, config.seed, config.batch_size, device), ReverseKL(target)
    return data_stream(
        target, config.seed, config.batch_size, getattr(torch, config.dtype), device
    ), MaximumLikelihood()
