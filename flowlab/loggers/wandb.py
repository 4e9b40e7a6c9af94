"""Weights & Biases."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowlab.config.component import setting
from flowlab.config.errors import ConfigError
from flowlab.config.registry import register
from flowlab.loggers.base import Logger

if TYPE_CHECKING:
    from flowlab.loggers._wandb import Session
    from flowlab.runs.directory import Run


@register("logger", "wandb")
@dataclass(kw_only=True)
class Wandb(Logger):
    """One run of Weights & Biases for a run directory, also when it is resumed.

    A null, and an empty list of tags, mean the value of W&B's environment variable where it is set.

    Arguments:
        project: where the run appears; None: WANDB_PROJECT, else "flowlab".
        entity: the user or the team that owns the project; None: WANDB_ENTITY, else the default of the account.
        mode: "auto": WANDB_MODE where it is set, else online with a key and a network, else offline.
        run_name: None: WANDB_NAME, else target and seed, in a sweep after the job's number.
        group: None: WANDB_RUN_GROUP, else the name of the sweep's directory.
        tags: words of at most 64 characters; none: the words of WANDB_TAGS.
        figures_every: steps from one drawing of the figures to the next; None draws them at the end alone.
    """

    project: str | None = None
    entity: str | None = None
    mode: str = setting("auto", choices=("auto", "online", "offline", "disabled"))
    run_name: str | None = None
    group: str | None = None  # type: ignore[assignment, misc]  # a key; it hides the name of the component's group
    tags: list[str] = setting([], may_be_empty=True)
    figures_every: int | None = setting(2500, minimum=1)

    def __post_init__(self) -> None:
        self._check_limits(f"logger.{self.name}.tags", self.tags, f"logger.{self.name}.project", self.project)

    def _check_limits(self, of_tags: str, tags: list[str], of_project: str, project: str | None) -> None:
        """Check the limits of Weights & Biases; the messages begin with where the values come from."""
        if not all(tags):
            raise ConfigError(f"{of_tags}={tags}: a tag must not be empty")
        if long := [tag for tag in tags if len(tag) > 64]:
            raise ConfigError(f"{of_tags}={long}: a tag must have at most 64 characters")
        if project is not None and (not project or set(project) & set("/\\#?%:")):
            raise ConfigError(f"{of_project}={project!r}: must be a name without any of / \\ # ? % :")
        if project is not None and len(project) > 128:
            raise ConfigError(f"{of_project}={project!r}: must have at most 128 characters")

    def check(self) -> None:
        """Check that a key is known where the run must go online, and goes to no server that the user did not name."""
        if self.mode == "disabled":
            return
        tags, project = os.environ.get("WANDB_TAGS"), os.environ.get("WANDB_PROJECT")
        self._check_limits("WANDB_TAGS", tags.split(",") if tags else [], "WANDB_PROJECT", project)
        if self.mode == "offline":
            return
        from flowlab.loggers._wandb import check_workspace, has_key

        check_workspace()
        if self.mode == "online" and not has_key():
            raise ConfigError(
                f"logger.{self.name}.mode=online: no Weights & Biases key is known; run `wandb login`, or use "
                f"logger.{self.name}.mode=offline"
            )

    def open(self, run: Run) -> AbstractContextManager[Session | None]:
        from flowlab.loggers._wandb import open_session

        return open_session(self, run)
