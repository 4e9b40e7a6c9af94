"""Resume a stopped run: on other hardware, for more steps, and from files that are all there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from flowlab.config.compose import compose_yaml, parse_overrides, rename_words
from flowlab.config.errors import ConfigError
from flowlab.config.schema import WHERE, Config, to_config
from flowlab.flow import Flow
from flowlab.loggers.base import check_metrics
from flowlab.runs.checkpoint import BEST, check_resumable
from flowlab.runs.directory import Run

MOVABLE = (*WHERE, "compile", "progress")  # the trainer's settings that may change when a run resumes
FILES = (
    *("config.yaml", "status.json", "provenance.json", "result.json", "metrics.csv"),
    *("checkpoints/last.ckpt", "checkpoints/best.ckpt"),
)


def relocate(config: Config, overrides: Sequence[str]) -> Config:
    """The configuration of a run that resumes elsewhere or for longer, as by "trainer.devices=4" or "max_steps=20000".

    Raise ConfigError if an override changes a different setting, or does not raise the number of steps.

    Example:
        >>> from flowlab.config.compose import compose
        >>> from flowlab.runs.resume import relocate
        >>> trainer = relocate(compose("trainer.log_every=10"), ["trainer=ddp_cpu"]).trainer
        >>> trainer.devices, trainer.log_every
        (2, 10)
    """
    if not overrides:
        return config
    overrides = rename_words(overrides)
    parsed = parse_overrides(overrides)
    for override in parsed:
        group, _, key = override.key_or_group.partition(".")
        is_allowed = group == "max_steps" or (group == "trainer" and (not key or key in MOVABLE))
        if not is_allowed or override.is_delete():
            raise ConfigError(
                f"{override.input_line}: a run resumes with the configuration it began with; allowed: trainer=..., "
                f"trainer.KEY=... of {', '.join(MOVABLE)}, or max_steps=N to train longer"
            )
    whole, values = compose_yaml(overrides), config.to_dict()
    if any(override.key_or_group == "max_steps" for override in parsed):
        values["max_steps"] = whole.max_steps
        if to_config(values).max_steps <= config.max_steps:
            raise ConfigError(
                f"max_steps={whole.max_steps}: the run has max_steps={config.max_steps}; a larger number trains it "
                "longer"
            )
    composed = whole.trainer
    chosen = {key for group, _, key in (o.key_or_group.partition(".") for o in parsed) if group == "trainer"}
    keys = (chosen | set(WHERE) if "" in chosen else chosen) - {""}
    values["trainer"] |= {key: composed[key] for key in keys}
    return to_config(values)


def is_same_run(first: Config, second: Config) -> bool:
    """Whether two configurations describe the same run, on any hardware."""
    elsewhere = {key: getattr(second.trainer, key) for key in MOVABLE}
    return replace(first, trainer=replace(first.trainer, **elsewhere)) == second


def check_files(run: Run, flow: Flow, finite: bool) -> None:
    """Raise ConfigError if a file that a run needs to resume is damaged or missing.

    Arguments:
        flow: its flow; the checkpoints' weights are loaded into it.
        finite: the training data are finite, so the result comes from the best checkpoint.
    """
    for name in FILES:
        path = run.directory / name
        if path.exists() and not path.is_file():  # a directory or a pipe
            raise ConfigError(f"{path}: is not a file; move it away")
    metrics = run.directory / "metrics.csv"
    if not run.has_checkpoint("last"):
        check_metrics(metrics, 0)
        return
    if run.has_checkpoint("best"):
        run.load_weights(flow, "best")
    last = run.load_weights(flow, "last")
    try:
        check_resumable(last, flow, run.config.optimizer.moments)
    except ValueError as error:
        raise ConfigError(
            f"{run.directory}/checkpoints/last.ckpt: {error}; remove the checkpoints, and the run begins again"
        ) from None
    check_metrics(metrics, last["flowlab"]["rate_mark"][0])
    if finite and last["callbacks"][BEST]["best_step"] and not run.has_checkpoint("best"):
        raise ConfigError(
            f"{run.directory}/checkpoints: best.ckpt is missing, whose weights give the result; put it back, or "
            "remove last.ckpt, and the run begins again"
        )
