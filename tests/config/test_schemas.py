"""Every bound of the schemas: what lies on its wrong side is refused, the first number that is allowed is not."""

import copy
import dataclasses
from functools import cache

import pytest
from flowlab.config.schemas import SCHEMAS, Config, ConfigError

from flowlab.config.compose import compose, to_config

TINY = 1e-9

# (the option, the key, the last number that is refused, the first one that is allowed)
BOUNDS = [
    ("", "seed", -1, 0),
    ("", "max_steps", 0, 1),
    ("", "batch_size", 0, 1),
    ("", "validation_size", 1, 2),
    ("", "test_size", 1, 2),
    ("target=banana", "target.train_size", 0, 1),
    ("target=banana", "target.scale", 0.0, TINY),
    ("target=banana", "target.noise", 0.0, TINY),
    ("target=gaussian", "target.train_size", 0, 1),
    ("target=uniform", "target.train_size", 0, 1),
    ("target=eight_gaussians", "target.train_size", 0, 1),
    ("target=eight_gaussians", "target.radius", 0.0, TINY),
    ("target=eight_gaussians", "target.scale", 0.0, TINY),
    ("target=checkerboard", "target.train_size", 0, 1),
    ("target=two_moons", "target.train_size", 0, 1),
    ("target=two_moons", "target.noise", 0.05 - TINY, 0.05),
    ("target=funnel", "target.train_size", 0, 1),
    ("target=funnel", "target.dim", 1, 2),
    ("target=funnel", "target.scale", 0.0, TINY),
    ("target=file", "target.validation", 0.0, TINY),
    ("target=file", "target.validation", 1.0, 1 - TINY),
    ("target=file", "target.test", 0.0, TINY),
    ("target=file", "target.test", 1.0, 1 - TINY),
    ("target=file", "target.split_seed", -1, 0),
    ("", "flow.depth", 0, 1),
    ("", "flow.rank", -1, 0),
    ("", "flow.initial_slope", 0.01, 0.01 + TINY),
    ("", "flow.smoothness", 0.0, TINY),
    ("", "optimizer.lr", 0.0, TINY),
    ("", "optimizer.eps", 0.0, TINY),
    ("", "optimizer.clip", 0.0, TINY),
    ("", "trainer.devices", 0, 1),
    ("", "trainer.nodes", 0, 1),
    ("", "trainer.threads", 0, 1),
    ("", "trainer.steps_per_call", 0, 1),
    ("", "trainer.log_every", 0, 1),
    ("", "trainer.validate_every", 0, 1),
    ("", "trainer.patience", 0, 1),
    ("", "trainer.checkpoint_every", 0, 1),
    ("", "trainer.checkpoint_every", 1001, 1000),
    ("logger=tensorboard", "logger.figures_every", 0, 1),
    ("logger=wandb", "logger.figures_every", 0, 1),
]


@cache
def values(option):
    words = [word for word in (option, "target.path=points.csv" if option == "target=file" else "") if word]
    return compose(*words).to_dict()


def config(option, key, number):
    changed = copy.deepcopy(values(option))
    group, _, name = key.rpartition(".")
    (changed[group] if group else changed)[name] = number
    return to_config(changed)


@pytest.mark.parametrize(("option", "key", "refused", "allowed"), BOUNDS)
def test_on_both_sides_of_a_bound(option, key, refused, allowed):
    with pytest.raises(ConfigError, match=rf"^{key}={refused}: must be (at least|at most|greater than) "):
        config(option, key, refused)
    config(option, key, allowed)


def limited(schema):
    return {field.name for field in dataclasses.fields(schema) if {"minimum", "maximum", "above"} & {*field.metadata}}


def test_every_bound_is_tried():
    there = {("", name) for name in limited(Config)}
    for group, options in SCHEMAS.items():
        for option, schema in options.items():
            several = len(options) > 1 and group in ("target", "logger")
            there |= {(f"{group}={option}" if several else "", f"{group}.{name}") for name in limited(schema)}
    assert {(option, key) for option, key, *_ in BOUNDS} == there
