"""./wandb/settings, which Weights & Biases obeys wherever it is started, whoever has written that file."""

from __future__ import annotations

import configparser
import os
from pathlib import Path

from flowlab.config.schemas import ConfigError

HARMLESS = ("entity", "project", "mode", "disabled")
THEIR_SERVER = "https://api.wandb.ai"


def check_workspace() -> None:
    """See that the settings in the working directory send the key to no other server than it was given for.

    Raises:
        ConfigError: they name another one, or set what a file of a project has no business to set.
    """
    from wandb.sdk import wandb_setup

    settings = wandb_setup.singleton().settings
    path = Path(settings.settings_workspace)
    here, own = _read(path), _read(Path(settings.settings_system or ""))
    servers = (own.get("base_url", THEIR_SERVER), THEIR_SERVER)
    for name, value in here.items():
        if name == "base_url":
            harmless = "WANDB_BASE_URL" in os.environ or value.rstrip("/") in servers
        else:
            harmless = name in HARMLESS
        if not harmless:
            raise ConfigError(
                f"{path}: {name}={value}: Weights & Biases would obey it, and send your key where it says; if it is "
                "yours, set WANDB_BASE_URL, or use `wandb login --host`, and remove the line; logger.mode=offline "
                "sends nothing"
            )


def _read(path: Path) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path)
    except (configparser.Error, UnicodeDecodeError):
        return {}  # as Weights & Biases takes it
    return dict(parser["default"]) if parser.has_section("default") else {}
