"""Old names in commands, configurations and manifests of earlier versions still work."""

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
def test_old_option_name_still_works(old):
    assert compose(old) == compose(OLD_OPTIONS[old])


@pytest.mark.parametrize("old", OLD_KEYS)
def test_old_key_name_still_works(old):
    new, value = OLD_KEYS[old]
    config = compose(f"{new}={value}")
    assert compose(f"{old}={value}") == config
    values = config.to_dict()
    group, _, key = new.partition(".")
    values[group][old.partition(".")[2]] = values[group].pop(key)
    assert to_config(values) == config
    assert flat(config.to_dict())[new] == value


def test_old_configuration_with_one_logger_still_works():
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
def test_old_logger_key_in_a_command_is_renamed(words, renamed):
    assert rename_words(words)[1] == renamed
    compose(*words)


def test_similar_words_are_not_renamed():
    for word in ("flow.started=1", "+flow.depth=3", "target.path=flow.start", "~flow", "logger.csv={}"):
        assert rename_words([word]) == [word]


def test_missing_key_keeps_the_old_behaviour():
    """A run from a version without compilation resumes without compilation."""
    values = compose().to_dict()
    assert rename_keys(values)["trainer"]["compile"] == "auto"
    del values["trainer"]["compile"]
    assert to_config(values).trainer.compile == "false"
