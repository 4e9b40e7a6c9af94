"""Weights & Biases."""

from __future__ import annotations

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

    Arguments:
        project: where the run appears.
        mode: "auto": WANDB_MODE where it is set, else online with a key and a network, else offline.
        run_name: None: target and seed, in a sweep after the job's number.
        group: None: the name of the sweep's directory.
        tags: words.
        figures_every: steps from one drawing of the figures to the next; None draws them at the end alone.
    """

    project: str = "flowlab"
    mode: str = setting("auto", choices=("auto", "online", "offline", "disabled"))
    run_name: str | None = None
    group: str | None = None  # type: ignore[assignment, misc]  # a key; it hides the name of the component's group
    tags: list[str] = setting([], may_be_empty=True)
    figures_every: int | None = setting(2500, minimum=1)

    def __post_init__(self) -> None:
        if not all(self.tags):
            raise ConfigError(f"logger.{self.name}.tags={self.tags}: a tag must not be empty")
        if not self.project or set(self.project) & set("/\\#?%:"):
            raise ConfigError(
                f"logger.{self.name}.project={self.project!r}: must be a name without any of / \\ # ? % :"
            )

    def check(self) -> None:
        """Check that a key is known where the run must go online, and goes to no server that the user did not name."""
        if self.mode in ("offline", "disabled"):
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
