"""Resume a run on other hardware."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from flowlab.config.aliases import rename_words
from flowlab.config.compose import compose_yaml, to_config
from flowlab.config.errors import ConfigError
from flowlab.config.overrides import parse_overrides
from flowlab.config.schema import Config

# Trainer settings that choose the hardware, which changes results by rounding alone; and all that may change.
WHERE = ("accelerator", "devices", "nodes", "launcher", "threads")
MOVABLE = (*WHERE, "compile", "progress")


def relocate(config: Config, overrides: Sequence[str]) -> Config:
    """The configuration of a run that resumes on other hardware.

    Arguments:
        config: the configuration that it began with.
        overrides: trainer settings, such as "trainer=ddp" or "trainer.devices=4".

    Raises:
        ConfigError: an override changes another setting.

    Example:
        >>> from flowlab.config.compose import compose
        >>> from flowlab.runs.relocation import relocate
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
        if group != "trainer" or (key and key not in MOVABLE) or override.is_delete():
            raise ConfigError(
                f"{override.input_line}: a run resumes with the configuration it began with; allowed: trainer=..., or "
                f"trainer.KEY=... of {', '.join(MOVABLE)}"
            )
    composed, values = compose_yaml(overrides).trainer, config.to_dict()
    chosen = {override.key_or_group.partition(".")[2] for override in parsed}
    keys = (chosen | set(WHERE) if "" in chosen else chosen) - {""}
    values["trainer"] |= {key: composed[key] for key in keys}
    return to_config(values)


def is_same_run(first: Config, second: Config) -> bool:
    """Whether two configurations describe the same run, on any hardware."""
    elsewhere = {key: getattr(second.trainer, key) for key in MOVABLE}
    return replace(first, trainer=replace(first.trainer, **elsewhere)) == second
