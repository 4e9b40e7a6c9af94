"""A run that goes on elsewhere than where it began."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from flowlab.config.compose import compose_yaml, parse_overrides, to_config, to_dict
from flowlab.config.schemas import Config, ConfigError

# Of the trainer: where a run computes, which its numbers do not depend on but for rounding; and what may go with it.
WHERE = ("accelerator", "devices", "nodes", "started_by", "threads")
MOVABLE = (*WHERE, "compile", "progress")


def moved(config: Config, overrides: Sequence[str]) -> Config:
    """The configuration of a run that goes on elsewhere.

    Arguments:
        config: that it began with.
        overrides: of the trainer, as "trainer=ddp", which says where, or "trainer.devices=4".

    Raises:
        ConfigError: one of them is about something else.

    Example:
        >>> from flowlab.config.compose import compose
        >>> from flowlab.runs.relocation import moved
        >>> trainer = moved(compose("trainer.log_every=10"), ["trainer=ddp_cpu"]).trainer
        >>> trainer.devices, trainer.log_every
        (2, 10)
    """
    parsed = parse_overrides(overrides)
    for override in parsed:
        group, _, key = override.key_or_group.partition(".")
        if group != "trainer" or (key and key not in MOVABLE) or override.is_delete():
            raise ConfigError(
                f"{override.input_line}: a run goes on with the configuration it began with; of that only where it "
                f"computes may change: trainer=..., or trainer.KEY=... of {', '.join(MOVABLE)}"
            )
    composed, values = compose_yaml(overrides).trainer, to_dict(config)
    chosen = {override.key_or_group.partition(".")[2] for override in parsed}
    keys = (chosen | set(WHERE) if "" in chosen else chosen) - {""}
    values["trainer"] |= {key: composed[key] for key in keys}
    return to_config(values)


def same_run(first: Config, second: Config) -> bool:
    """Whether two configurations are of one run, wherever it computes."""
    elsewhere = {key: getattr(second.trainer, key) for key in MOVABLE}
    return replace(first, trainer=replace(first.trainer, **elsewhere)) == second
