"""Settings of null follow the data: a configuration gets their values once, when its target is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flowlab.config.component import data_fields
from flowlab.config.schema import Config
from flowlab.targets.base import Target

ENDLESS = 1_000_000  # the number of rows that a target with fresh points counts as
EPOCHS = 150
FEWEST, MOST = 1000, 20_000  # optimizer steps
VALIDATIONS = 40
VALUES = 6.0e7  # that a training takes through an autoregressive layer, at most: about two minutes of one core


def follow_data(config: Config, target: Target) -> Config:
    """Give each setting of null that follows the data its value; other settings stay as they are.

    The values are a function of the number of training rows n and of columns d:

    - flow and optimizer: see their `follow_data`;
    - batch_size: 128 points; 256 from n = 2000 and 512 from n = 10 000 on;
    - max_steps: the steps of 150 epochs, at least 1000; fewer where a deep flow of many columns would take minutes;
    - trainer.validate_every: a fortieth of the steps.
    """
    rows, columns = ENDLESS if target.train_size is None else target.train_size, target.dim
    flow, optimizer = (part.follow_data(rows, columns) for part in (config.flow, config.optimizer))
    config = replace(config, flow=flow, optimizer=optimizer)
    if config.batch_size is None:
        config = replace(config, batch_size=128 if rows < 2000 else 256 if rows < 10_000 else 512)
    if config.max_steps is None:
        values = config.batch_size * columns * getattr(flow, "depth", 1)
        wanted = min(EPOCHS * rows // config.batch_size, int(VALUES / values))
        config = replace(config, max_steps=min(max(wanted, FEWEST), MOST))
    if config.trainer.validate_every is None:
        config = replace(
            config, trainer=replace(config.trainer, validate_every=max(1, config.max_steps // VALIDATIONS))
        )
    return config


def fill_from(config: Config, recorded: Config) -> Config:
    """Take each setting of null that follows the data from the configuration that a run has recorded."""
    parts = {name: _fill(getattr(config, name), getattr(recorded, name)) for name in ("flow", "optimizer", "trainer")}
    filled: Config = _fill(replace(config, **parts), recorded)
    return filled


def _fill(settings: Any, recorded: Any) -> Any:
    if type(settings) is not type(recorded):  # a different run, as its caller will say
        return settings
    null = [name for name in data_fields(type(settings)) if getattr(settings, name) is None]
    values: dict[str, Any] = {name: getattr(recorded, name) for name in null}
    return replace(settings, **values) if values else settings
