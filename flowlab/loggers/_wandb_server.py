"""The server of Weights & Biases: its address, whether a key for it is known, and whether it can be reached."""

from __future__ import annotations

import configparser
import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from requests.utils import get_netrc_auth

from flowlab.config.errors import ConfigError

if TYPE_CHECKING:
    from flowlab.loggers.wandb import Wandb

HARMLESS = ("entity", "project", "mode", "disabled")
PUBLIC_SERVER = "https://api.wandb.ai"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let Weights & Biases log errors alone, and keep its service out of the environment of later processes.

    A rank of the same run must start a service of its own.
    """
    logger, service = logging.getLogger("wandb"), os.environ.get("WANDB_SERVICE")
    level = logger.level
    import wandb  # noqa: F401  sets the level when it is imported

    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        if service is None:
            os.environ.pop("WANDB_SERVICE", None)


def choose_mode(settings: Wandb) -> Any:
    """The mode of a run; `auto` is WANDB_MODE where it is set, else online with a key and a network, else offline."""
    if settings.mode != "auto":
        return settings.mode
    if os.environ.get("WANDB_MODE") in ("offline", "online", "disabled"):
        return os.environ["WANDB_MODE"]
    return "online" if has_key() and _is_reachable() else "offline"


def has_key() -> bool:
    """Whether a key is known, from the environment or from `wandb login`."""
    from wandb.sdk.lib.urls import forge_upstream_url

    places = {_url(), forge_upstream_url(_url())}  # an older `wandb login` has written the second
    return bool(os.environ.get("WANDB_API_KEY") or any(get_netrc_auth(place) for place in places))


def check_workspace() -> None:
    """Check ./wandb/settings, which Weights & Biases obeys wherever it is started, whoever has written that file.

    Raises:
        ConfigError: it sends the key to a server that the user did not name, or sets what no project should set.
    """
    settings = _settings()
    path = Path(settings.settings_workspace)
    here, own = _read(path), _read(Path(settings.settings_system or ""))
    servers = (own.get("base_url", PUBLIC_SERVER), PUBLIC_SERVER)
    for name, value in here.items():
        if name == "base_url":
            harmless = "WANDB_BASE_URL" in os.environ or value.rstrip("/") in servers
        else:
            harmless = name in HARMLESS
        if not harmless:
            raise ConfigError(
                f"{path}: {name}={value}: Weights & Biases would obey it, and send your key where it says; if it is "
                "yours, set WANDB_BASE_URL, or use `wandb login --host`, and remove the line; "
                "logger.wandb.mode=offline sends nothing"
            )


def _settings() -> Any:
    with quiet():
        from wandb.sdk import wandb_setup

        return wandb_setup.singleton().settings


def _url() -> str:
    """The server, from the environment or from `wandb login --host`."""
    return os.environ.get("WANDB_BASE_URL") or _settings().base_url


def _is_reachable() -> bool:
    url = urlparse(_url())
    try:
        port = url.port or (443 if url.scheme == "https" else 80)
        socket.create_connection((url.hostname or "", port), timeout=3).close()
    except OSError:
        return False
    return True


def _read(path: Path) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path)
    except (configparser.Error, UnicodeDecodeError):
        return {}  # Weights & Biases ignores such a file too
    return dict(parser["default"]) if parser.has_section("default") else {}
