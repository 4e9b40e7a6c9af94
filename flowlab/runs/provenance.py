"""The provenance of a run: code, versions, machine and command, without secrets."""

from __future__ import annotations

import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import flowlab
from flowlab.config.schema import Config
from flowlab.config.secrets import redact_command
from flowlab.distributed.world import resolve_device

PACKAGES = ("torch", "pytorch-lightning", "hydra-core", "numpy", "scipy", "pandas", "matplotlib", "wandb")


def provenance(config: Config) -> dict[str, Any]:
    """The origin of a run and the settings of its machine, as plain data."""
    gpu = resolve_device(config.trainer.accelerator).type == "cuda" and torch.cuda.is_available()
    return {
        **origin(),
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "processes": config.trainer.processes,
        "threads": config.trainer.threads,
        "seed": config.seed,
    }


def origin() -> dict[str, Any]:
    """The code, versions, machine and command of this process, as plain data."""
    commit, dirty = _git()
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "flowlab": flowlab.__version__,
        "git_commit": commit,
        "git_dirty": dirty,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "command": redact_command(sys.argv),
    }


def _git() -> tuple[str | None, bool | None]:
    """The commit of flowlab's source, and whether files differ from it; None outside a checkout."""
    here = Path(__file__).parent
    try:
        _run_git(here, "ls-files", "--error-unmatch", Path(__file__).name)  # the repository must be flowlab's
        commit = _run_git(here, "rev-parse", "HEAD")
        return commit, bool(_run_git(here, "status", "--porcelain", "--", ":/flowlab", ":/conf", ":/experiments"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _run_git(directory: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(directory), *words], capture_output=True, text=True, timeout=20, check=True)
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
