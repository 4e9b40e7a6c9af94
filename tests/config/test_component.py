"""Types and ranges of every component, tested on both sides of each limit in a whole configuration."""

import copy
import dataclasses
import math
import re
from functools import cache

import pytest

from flowlab.cli.engines import StackedLauncherConfig
from flowlab.config.component import as_typed
from flowlab.config.compose import compose
from flowlab.config.errors import ConfigError
from flowlab.config.registry import PACKAGES, lookup, names
from flowlab.config.schema import RunConfig, TrainerConfig, to_config

TINY = 1e-9

# Settings that a component needs beside the setting under test.
FILE = {"path": "points.csv"}
NEEDED = {
    **{"file": FILE, "table": FILE, "flow": {"run": "runs/teacher"}},
    **{"dataset": {"dataset": "iris"}, "eight_gaussians": {"radius": TINY}},
}
# Numbers that may have any finite value.
UNLIMITED = {"target.banana.curvature"}


def settings():
    """Yield the group, component name and field of every setting."""
    yield from (("", "", item) for item in dataclasses.fields(RunConfig))
    yield from (("trainer", "", item) for item in dataclasses.fields(TrainerConfig))
    for group in PACKAGES:
        for name in names(group):
            component = lookup(group, name)
            if dataclasses.is_dataclass(component):  # a metric or a map is a function
                yield from ((group, name, item) for item in dataclasses.fields(component) if item.init)


def label(group, name, item):
    return ".".join(part for part in (group, name, item.name) if part)


SETTINGS = {label(*each): each for each in settings()}


def limits_of(item):
    """Yield, for each limit of a field, a refused value, the nearest allowed value, and the message."""
    is_list = str(item.type).startswith("list")
    number, step = (int, 1) if "int" in str(item.type) else (float, TINY)
    kind = (lambda value: [number(value)]) if is_list else number
    limits = item.metadata
    if "minimum" in limits:
        yield kind(limits["minimum"] - step), kind(limits["minimum"]), "must be at least "
    if "maximum" in limits:
        yield kind(limits["maximum"] + step), kind(limits["maximum"]), "must be at most "
    if "above" in limits:
        yield kind(limits["above"]), kind(limits["above"] + step), "must be greater than "
        if limits["below"] < math.inf:
            yield kind(limits["below"]), kind(limits["below"] - step), "must be greater than .* and less than "


@cache
def default_values():
    return compose().to_dict()


def config(group, name, item, value):
    """Return the default configuration with one setting changed."""
    values = copy.deepcopy(default_values())
    if not name:
        (values[group] if group else values)[item.name] = value
    else:
        node = {"name": name} | NEEDED.get(name, {}) | {item.name: value}
        values[group] = {name: node} if group == "logger" else node
    return to_config(values)


def key_of(group, name, item):
    return ".".join(part for part in (group, name if group == "logger" else "", item.name) if part)


LIMITS = [(where, *limit) for where, each in SETTINGS.items() for limit in limits_of(each[2])]


@pytest.mark.parametrize(("where", "refused", "allowed", "complaint"), LIMITS, ids=[f"{w} {r}" for w, r, *_ in LIMITS])
def test_limit_refuses_one_side_and_allows_the_other(where, refused, allowed, complaint):
    setting = SETTINGS[where]
    with pytest.raises(ConfigError, match=rf"^{key_of(*setting)}={re.escape(str(refused))}: {complaint}"):
        config(*setting, refused)
    config(*setting, allowed)


def test_every_number_has_a_limit():
    numbers = {where for where, (_, _, item) in SETTINGS.items() if str(item.type).startswith(("int", "float"))}
    limited = {where for where, *_ in LIMITS}
    assert numbers - limited == UNLIMITED
    assert len(limited) > 40


WORDS = [where for where, (_, _, item) in SETTINGS.items() if "choices" in item.metadata]


@pytest.mark.parametrize("where", WORDS)
def test_only_listed_words_are_allowed(where):
    setting = SETTINGS[where]
    choices = setting[2].metadata["choices"]
    for word in choices:
        config(*setting, word)
    with pytest.raises(ConfigError, match=rf"^{key_of(*setting)}='nonsense': allowed: {', '.join(choices)}"):
        config(*setting, "nonsense")


@pytest.mark.parametrize("where", SETTINGS)
def test_value_of_wrong_type_is_refused(where):
    """No setting takes a mapping; an empty list is allowed only where the field says so."""
    setting = SETTINGS[where]
    with pytest.raises(ConfigError, match=rf"^{key_of(*setting)}={{'a': 1}}: must be "):
        config(*setting, {"a": 1})
    if str(setting[2].type).startswith("list") and not setting[2].metadata.get("may_be_empty", True):
        with pytest.raises(ConfigError, match=rf"^{key_of(*setting)}=\[\]: must not be empty"):
            config(*setting, [])


def test_limits_of_the_stacked_launcher():
    def launcher(**values):
        return as_typed(StackedLauncherConfig, values, "hydra.launcher.")

    for item in dataclasses.fields(StackedLauncherConfig):
        for refused, allowed, complaint in limits_of(item):
            launcher(**{item.name: allowed})
            with pytest.raises(ConfigError, match=rf"^hydra.launcher.{item.name}={refused}: {complaint}"):
                launcher(**{item.name: refused})


def test_inconsistent_settings_are_named_by_their_key():
    with pytest.raises(ConfigError, match=r"^target.scale=0.001: must be at least radius / 400 = 0.01$"):
        compose("target=eight_gaussians", "target.scale=0.001")

    @dataclasses.dataclass
    class Fussy:
        size: "int" = 1

        def __post_init__(self):
            raise ValueError("no size fits")

    with pytest.raises(ConfigError, match=r"^flow: no size fits$"):
        as_typed(Fussy, {}, "flow.")
