"""Resume a stopped run: on other hardware, for more steps, and from files that are all there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flowlab.config.compose import compose_yaml, parse_overrides, rename_words
from flowlab.config.errors import ConfigError
from flowlab.config.schema import WHERE, Config, to_config
from flowlab.flow import Flow
from flowlab.loggers.base import check_metrics
from flowlab.runs.checkpoint import BEST, check_resumable
from flowlab.runs.directory import Run

MOVABLE = (*WHERE, "compile", "progress")  # the trainer's settings that may change when a run resumes
LIMITS = ("max_steps", "trainer.patience", "trainer.max_time")  # what ends a run, and may be raised
FILES = (
    *("config.yaml", "status.json", "provenance.json", "result.json", "metrics.csv"),
    *("checkpoints/last.ckpt", "checkpoints/best.ckpt"),
)


def relocate(config: Config, overrides: Sequence[str]) -> Config:
    """The configuration of a run that resumes elsewhere or for longer, as by "trainer.devices=4" or "max_steps=20000".

    Raise ConfigError if an override changes a different setting, or does not raise a limit.

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
        is_allowed = override.key_or_group in LIMITS or (group == "trainer" and (not key or key in MOVABLE))
        if not is_allowed or override.is_delete():
            raise ConfigError(
                f"{override.input_line}: a run resumes with the configuration it began with; allowed: trainer=..., "
                f"trainer.KEY=... of {', '.join(MOVABLE)}, or a larger {', '.join(LIMITS)} to train longer"
            )
    whole, values = compose_yaml(overrides), config.to_dict()
    words = {override.key_or_group for override in parsed}
    values["max_steps"] = whole.max_steps if "max_steps" in words else config.max_steps
    chosen = {key for group, _, key in (word.partition(".") for word in words) if group == "trainer"}
    keys = (chosen | set(WHERE) if "" in chosen else chosen) - {""}
    values["trainer"] |= {key: whole.trainer[key] for key in keys}
    relocated = to_config(values)
    for limit in LIMITS:
        before, now = _limit(config, limit), _limit(relocated, limit)
        if limit in words and now <= before:
            raise ConfigError(
                f"{limit}={now}: the run has {limit}={before}; a larger number trains it longer"
                if before < math.inf
                else f"{limit}={now}: the run has no such limit; leave it out"
            )
    return relocated


def _limit(config: Config, key: str) -> float:
    """The value of one of LIMITS; infinite where it is null."""
    value = config.max_steps if key == "max_steps" else getattr(config.trainer, key.removeprefix("trainer."))
    return math.inf if value is None else value


def check_goes_on(run: Run) -> None:
    """Raise ConfigError if a run that is done would end again at once, as a limit that ended it is not raised."""
    last: dict[str, Any] = run.checkpoint("last") if run.has_checkpoint("last") else {"global_step": math.inf}
    spent = last.get("callbacks", {}).get(BEST, {}).get("spent", 0) if run.result.get("weights") == "best" else 0
    reached = dict(zip(LIMITS, (last["global_step"], spent, last.get("flowlab", {}).get("seconds", 0)), strict=True))
    met = {limit: _limit(run.config, limit) for limit in LIMITS if reached[limit] >= _limit(run.config, limit)}
    if met:
        words = " ".join(f"{limit}=N" for limit in met)
        raise ConfigError(
            f"{run.directory}: this run is done already: {run!r}; it ended by {' and '.join(met)}: "
            f"resume={run.directory} {words}, with N above {' and '.join(map(str, met.values()))}, trains it longer"
        )


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
    if finite and last["callbacks"][BEST]["best_nll"] < math.inf and not run.has_checkpoint("best"):
        raise ConfigError(
            f"{run.directory}/checkpoints: best.ckpt is missing, whose weights give the result; put it back, or "
            "remove last.ckpt, and the run begins again"
        )
