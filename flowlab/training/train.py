"""A run: one configuration trained into one directory, to the end or from where it was stopped."""

from __future__ import annotations

import contextlib
import re
import signal
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy

from flowlab.config.compose import to_config, to_dict
from flowlab.config.schemas import Config, ConfigError
from flowlab.config.untrusted import check_links
from flowlab.distributed.cluster import cluster_environment, join_world, requeue_job
from flowlab.distributed.devices import resolve_device
from flowlab.distributed.launch import train_on_ranks
from flowlab.distributed.stopping import GracefulStop
from flowlab.distributed.world import SINGLE_PROCESS, World
from flowlab.flow import Flow
from flowlab.loggers.open import open_loggers
from flowlab.objectives.objective import MaximumLikelihood, Mixed, Objective, ReverseKL
from flowlab.runs.directory import (
    Run,
    begin,
    check_data,
    check_directory,
    default_directory,
    load_run,
    located,
    write_config,
)
from flowlab.runs.provenance import provenance
from flowlab.runs.relocation import moved, same_run
from flowlab.runs.resume_checks import check_files
from flowlab.runs.status import fail, told
from flowlab.system.files import remove_parts, write_json
from flowlab.system.lock import lock_directory
from flowlab.system.process import set_threads, silence_lightning
from flowlab.system.signals import STOP_HANDLERS, Preempted, handle_signals, raise_preempted
from flowlab.targets.base import ExactTarget, Target
from flowlab.training.batches import Stream, base_stream, data_stream
from flowlab.training.check import check_run
from flowlab.training.checkpoints import Checkpoints, Saving
from flowlab.training.compile import choose
from flowlab.training.figures import Figures
from flowlab.training.initial_flow import initial_flow
from flowlab.training.module import FlowModule
from flowlab.training.progress import announce, progress_callback
from flowlab.training.record import Record
from flowlab.training.report import write_outcome


def train(config: Config, directory: str | Path | None = None, group: str | None = None) -> Run:
    """Train a flow: fit, evaluate, draw, save.

    Where Slurm or torchrun has started several processes for it, each of them calls this.

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
    chosen = Path(directory) if directory is not None else default_directory(config)
    with join_world(config.trainer) as world:
        return carry_out(
            world.broadcast_from_rank_zero(lambda: begin(config, target, chosen, group)), target, world=world
        )


def resume(directory: str | Path, *overrides: str) -> Run:
    """Go on with a run that was killed, interrupted or failed, from its last checkpoint.

    The end is the same, bit for bit, as if nothing had happened: the minibatch of a step is a function of the seed and
    the step, and everything else is in the checkpoint. A run that was killed before its first checkpoint starts again.

    Arguments:
        directory: of the run.
        overrides: where it goes on, as "trainer.devices=4" or "trainer=gpu"; with more processes or fewer the end is
            the same up to rounding. A GPU draws other points than a CPU.

    Raises:
        ConfigError: no run directory, a run that is done already, or a data file that has changed since.
    """
    run = load_run(directory)
    if run.done:
        raise ConfigError(f"{directory}: this run is done already: {run!r}")
    run = Run(run.directory, moved(run.config, overrides))
    target = check_run(run.config)
    with join_world(run.config.trainer) as world:
        world.broadcast_from_rank_zero(lambda: reopen(run, target))
        return carry_out(run, target, world=world)


def complete(config: Config, directory: Path, group: str | None = None) -> Run:
    """See that a run gets done: trained, gone on with, or left as it is when it is done already.

    This is for what may be started more than once: a job of a sweep, or of a cluster that takes it off its machine.

    Arguments:
        config: of the run; one that has begun in the directory must have the same.
        directory: the run directory: new, empty, or of this run.
        group: the sweep that the run belongs to.

    Raises:
        ConfigError: as `train` and `resume` do.
        DivergedError: as `train` does.
    """
    with join_world(config.trainer) as world:
        before = world.broadcast_from_rank_zero(lambda: begun(directory, config))
        if before and before.done:
            return before
        try:
            target = check_run(config)
            run = world.broadcast_from_rank_zero(lambda: opened(before, config, target, directory, group))
        except ConfigError as error:
            # It may be this machine that cannot run it; who reads the sweep elsewhere finds out why from its directory.
            if world.is_rank_zero:
                with contextlib.suppress(ConfigError, OSError):
                    fail(Run(directory, located(config)), error)
            raise
        return carry_out(run, target, world=world)


def begun(directory: Path, config: Config) -> Run | None:
    """The run of a job's directory, if it has begun in it.

    It goes on where the configuration says now, wherever it was before.

    Raises:
        ConfigError: it holds something else, another run or a damaged one, or another process works on it.
    """
    check_links(directory)
    if (directory / "config.yaml").is_file():
        if not same_run(load_run(directory).config, located(config)):
            raise ConfigError(f"{directory}: holds a run of another configuration; choose another directory")
        return Run(directory, located(config))
    check_directory(directory)
    return None


def opened(before: Run | None, config: Config, target: Target, directory: Path, group: str | None) -> Run:
    """The run of a directory, ready to be carried out: begun, or reopened where it had begun before."""
    if before is None:
        return begin(config, target, directory, group)
    reopen(before, target)
    return before


def reopen(run: Run, target: Target) -> None:
    """See that a run can go on, and write down that it does, and where.

    Raises:
        ConfigError: a damaged file, a data file that has changed since, or another process on the directory.
    """
    check_links(run.directory)
    check_data(run, target)
    check_files(run, target)  # a damaged file is named before anything changes
    record, path = run.provenance, run.directory / "provenance.json"
    if not re.fullmatch(r"[\w-]+", str(record.get("run_id"))):  # it becomes part of the name of a file
        raise ConfigError(f"{path}: run_id={record.get('run_id')!r}: is not one of a run")
    if not isinstance(record.setdefault("resumed", []), list):
        raise ConfigError(f"{path}: resumed={record['resumed']!r}: must be a list; remove it")
    record["resumed"].append(provenance(run.config))
    try:
        with lock_directory(run.directory):
            remove_parts(run.directory)
            write_json(path, record)
            write_config(run)
    except OSError as error:
        raise ConfigError(f"{run.directory}: cannot be written: {error.strerror}") from None


def carry_out(run: Run, target: Target, progress: pl.Callback | None = None, world: World = SINGLE_PROCESS) -> Run:
    """Fit, evaluate, draw and save, from the last checkpoint if there is one.

    Arguments:
        run: begun.
        target: what it models.
        progress: shows how far it is; None is what the configuration asks for.
        world: the ranks that do so together, where something else has started them.
    """
    settings = run.config.trainer
    if progress is None and world.is_rank_zero:
        announce(choose(run.config), settings.progress)
        progress = progress_callback(settings.progress)
    handlers = STOP_HANDLERS
    if settings.started_by == "slurm":  # outside of training too; the others leave it to the first
        handlers = handlers | {signal.SIGUSR1: raise_preempted if world.is_rank_zero else signal.SIG_IGN}
    try:
        with handle_signals(handlers), told(run) if world.is_rank_zero else contextlib.nullcontext():
            if settings.started_by == "flowlab" and settings.devices > 1:
                train_on_ranks(run.directory, settings)
            else:
                fit(run, target, progress, world)
    except Preempted:
        if world.is_rank_zero:
            requeue_job()
        raise
    return run


def fit(run: Run, target: Target, progress: pl.Callback | None, world: World) -> None:
    """Train a run in this process, alone or as one of several ranks; the first of them evaluates, draws and saves."""
    check_data(run, target)  # each rank has read the file for itself
    config, directory, settings = run.config, run.directory, run.config.trainer
    device = device_of(config, world)
    with contextlib.ExitStack() as surroundings:
        surroundings.enter_context(silence_lightning())
        surroundings.enter_context(set_threads(settings.threads))
        flow = initial_flow(config, target).to(device)
        stream, objective = what_to_minimise(config, flow, target, device)
        record = new_record(config, target, device, world)
        stopping = GracefulStop(world, preemption=settings.started_by == "slurm")
        module = FlowModule(flow, stream, objective, config, record, stopping)
        saving = Saving(config, directory / "checkpoints")
        loggers = surroundings.enter_context(open_loggers(run)) if world.is_rank_zero else []
        trainer = pl.Trainer(
            max_steps=config.max_steps,
            accelerator=torch.device(device).type,
            devices=settings.devices,
            num_nodes=settings.nodes,
            strategy=DDPStrategy() if world.size > 1 else "auto",
            plugins=[cluster_environment(settings)],  # whatever else started this process
            logger=loggers,
            callbacks=[Checkpoints(saving, record), Figures(run, target), stopping, *([progress] if progress else [])],
            default_root_dir=directory,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        last = directory / "checkpoints" / "last.ckpt"
        with stopping.raise_at_end(), world.detect_lost_ranks():
            trainer.fit(module, ckpt_path=last if last.exists() else None, weights_only=True)
        training = {
            "steps": trainer.global_step,
            "best_step": saving.best_step,
            "compiled": module.compiled is not None,
            "seconds": record.seconds,
            "steps_per_second": trainer.global_step / record.seconds,
        }
        if world.is_rank_zero:
            write_outcome(run, flow.to(device), target, training, loggers)


def device_of(config: Config, world: World = SINGLE_PROCESS) -> str:
    """Where a rank computes."""
    return str(resolve_device(config.trainer.accelerator, world.local_rank))


def new_record(config: Config, target: Target, device: str, world: World = SINGLE_PROCESS) -> Record:
    """The record of a run, with its held-out points."""
    points = target.rows("validation", config.validation_size, config.seed, getattr(torch, config.dtype))
    return Record(config, target, points.to(device), world)


def what_to_minimise(config: Config, flow: Flow, target: Target, device: str) -> tuple[Stream, Objective]:
    """The minibatches and the loss of a configuration."""
    if isinstance(target, ExactTarget):
        target.to_(device)
    objective: Objective = MaximumLikelihood()
    if config.objective.name == "reverse_kl":
        assert isinstance(target, ExactTarget)
        stream, objective = base_stream(flow, config.seed, config.batch_size, device), ReverseKL(target)
    else:
        stream = data_stream(target, config.seed, config.batch_size, getattr(torch, config.dtype), device)
    return stream, Mixed(objective) if config.trainer.precision == "bf16-mixed" else objective
