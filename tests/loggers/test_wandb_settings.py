"""Settings of Weights & Biases: names from its own variables, its limits, its modes, and where its key is."""

import subprocess
import sys

import pytest
import wandb_records
from loggers.stub_run import log_rows, stub_run
from wandb_shell import KEY_OF_NETRC, without_wandb

from flowlab import compose
from flowlab.config.errors import ConfigError
from flowlab.loggers.base import open_loggers

WORDS = ("logger=wandb", "logger.wandb.mode=offline")

pytestmark = pytest.mark.usefixtures("without_wandb_variables")


NAMED = {"PROJECT": "theirs", "ENTITY": "team", "NAME": "one", "RUN_GROUP": "many", "TAGS": "a,b"}


@pytest.mark.parametrize(
    "given", [{}, {"project": "mine", "entity": "me", "run_name": "x", "group": "y", "tags": ["z"]}]
)
def test_variables_of_wandb_give_what_the_configuration_does_not(given, tmp_path, monkeypatch):
    for name, value in NAMED.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    run = stub_run(tmp_path / "run", *WORDS, *(f"logger.{key}={value}" for key, value in given.items()))
    run.config.logger["wandb"].check()
    with open_loggers(run) as sinks:
        log_rows(sinks, [100])
    record = wandb_records.run_record(wandb_records.sessions(run.directory)[-1])
    assert (record.project, record.entity) == (given.get("project", "theirs"), given.get("entity", "team"))
    assert (record.display_name, record.run_group) == (given.get("run_name", "one"), given.get("group", "many"))
    assert list(record.tags) == given.get("tags", ["a", "b"])


@pytest.mark.parametrize(("name", "value"), [("TAGS", "a," + 65 * "t"), ("PROJECT", 129 * "p"), ("PROJECT", "a/b")])
def test_variables_of_wandb_have_its_limits(name, value, monkeypatch):
    monkeypatch.setenv(f"WANDB_{name}", value)
    with pytest.raises(ConfigError, match=f"WANDB_{name}=.* must "):
        compose(*WORDS).logger["wandb"].check()


@pytest.mark.parametrize(
    ("word", "complaint"),
    {
        "mode=never": r"logger\.wandb\.mode='never': allowed: auto, online, offline, disabled",
        "project=a/b": r"logger\.wandb\.project='a/b': must be a name without any of",
        "tags=['']": r"logger\.wandb\.tags=\[''\]: a tag must not be empty",
        "project=" + 129 * "p": r"logger\.wandb\.project='p{129}': must have at most 128 characters",
        "tags=[a," + 65 * "t" + "]": r"logger\.wandb\.tags=\['t{65}'\]: a tag must have at most 64 characters",
        "figures_every=0": r"logger\.wandb\.figures_every=0: must be at least 1",
    }.items(),
)
def test_settings_are_checked(word, complaint):
    with pytest.raises(ConfigError, match=complaint):
        compose("logger=wandb", f"logger.wandb.{word}")


def test_online_mode_without_a_key_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"logger\.wandb\.mode=online: no Weights & Biases key .*mode=offline"):
        compose("logger=wandb", "logger.wandb.mode=online").logger["wandb"].check()


@pytest.mark.parametrize("machine", ["api.forge.coreweave.com", "api.wandb.ai", "other.example"])
def test_a_key_of_wandb_login_is_found(tmp_path, machine):
    """Current and older versions of W&B write these keys. A new process is needed: W&B reads its settings once."""
    (tmp_path / "netrc").write_text(f"machine {machine}\n  login user\n  password {KEY_OF_NETRC}\n")
    environment = without_wandb(tmp_path, NETRC=str(tmp_path / "netrc"))
    del environment["WANDB_BASE_URL"]
    code = "from flowlab.loggers._wandb import has_key; print(has_key())"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout == f"{machine != 'other.example'}\n", done.stderr
