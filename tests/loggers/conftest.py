import os

import pytest
from wandb_shell import without_wandb


@pytest.fixture
def without_wandb_variables(monkeypatch, tmp_path_factory):
    """An environment without the settings and the key of a user of W&B."""
    environment = without_wandb(tmp_path_factory.getbasetemp())
    for name in os.environ.keys() - environment.keys():
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
