"""Commands, configurations and manifests of earlier versions, under the names that they had."""

import pytest

from flowlab import compose
from flowlab.config.aliases import ABSENT, KEYS, OPTIONS, rename_keys, rename_words
from flowlab.config.compose import flat, to_config


@pytest.mark.parametrize(("old", "new"), OPTIONS.items())
def test_an_option_with_its_old_name(old, new):
    plus = "+" if old.startswith("sweep") else ""
    assert compose(plus + old) == compose(plus + new)


VALUES = {"flow.start": "glorot", "flow.slope_start": 0.5, "trainer.started_by": "flowlab"}


@pytest.mark.parametrize("old", KEYS)
def test_a_key_with_its_old_name(old):
    new, value = KEYS[old], VALUES[old]
    config = compose(f"{new}={value}")
    assert compose(f"{old}={value}") == config
    values = config.to_dict()
    group, _, key = new.partition(".")
    values[group][old.partition(".")[2]] = values[group].pop(key)
    assert to_config(values) == config
    assert flat(config.to_dict())[new] == value


def test_a_configuration_with_one_logger():
    values = compose("logger=wandb", "logger.wandb.mode=offline").to_dict()
    assert to_config(values | {"logger": values["logger"]["wandb"]}) == to_config(values)
    assert list(to_config(values | {"logger": {"name": "csv"}}).logger) == ["csv"]


@pytest.mark.parametrize(
    ("words", "renamed"),
    [
        (["logger=wandb", "logger.mode=offline"], "logger.wandb.mode=offline"),
        (["logger=tensorboard", "logger.figures_every=5"], "logger.tensorboard.figures_every=5"),
        (["logger=wandb", "logger.wandb.mode=offline"], "logger.wandb.mode=offline"),
    ],
)
def test_a_key_of_the_one_logger_in_a_command(words, renamed):
    assert rename_words(words)[1] == renamed
    compose(*words)


def test_words_that_only_look_alike_stay():
    for word in ("flow.started=1", "+flow.depth=3", "target.path=flow.start", "~flow", "logger.csv={}"):
        assert rename_words([word]) == [word]


def test_a_key_that_did_not_exist_keeps_its_meaning():
    """A run of a version without compilation resumes without it."""
    for key, meaning in ABSENT.items():
        group, _, name = key.partition(".")
        values = compose().to_dict()
        del values[group][name]
        assert rename_keys(values)[group][name] == meaning
