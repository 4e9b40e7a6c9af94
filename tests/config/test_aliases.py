"""Commands, configurations and manifests of earlier versions, under the names that they had."""

import pytest

from flowlab import compose
from flowlab.config.aliases import rename_keys, rename_words
from flowlab.config.compose import flat, to_config

OLD_OPTIONS = {"experiment=banana_document": "experiment=jang2018", "+sweep=document": "+sweep=jang2018"}
OLD_KEYS = {
    "flow.start": ("flow.initialization", "glorot"),
    "flow.slope_start": ("flow.initial_slope", 0.5),
    "trainer.started_by": ("trainer.launcher", "flowlab"),
}


@pytest.mark.parametrize("old", OLD_OPTIONS)
def test_an_option_with_its_old_name(old):
    assert compose(old) == compose(OLD_OPTIONS[old])


@pytest.mark.parametrize("old", OLD_KEYS)
def test_a_key_with_its_old_name(old):
    new, value = OLD_KEYS[old]
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
    values = compose().to_dict()
    assert rename_keys(values)["trainer"]["compile"] == "auto"
    del values["trainer"]["compile"]
    assert to_config(values).trainer.compile == "false"
