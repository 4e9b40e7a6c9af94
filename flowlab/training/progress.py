"""How far a run is: a bar in a terminal or a notebook, lines elsewhere."""

from __future__ import annotations

import sys
from typing import Any, Protocol, runtime_checkable

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flowlab.config.schemas import Config
from flowlab.system.display import NotebookBar, is_in_notebook, print_line
from flowlab.training.compile import Choice
from flowlab.training.record import Record

LINES = 10  # over a whole run


@runtime_checkable
class Recorded(Protocol):
    """A module whose progress can be shown."""

    config: Config

    @property
    def record(self) -> Record: ...


def progress_callback(kind: str) -> pl.Callback | None:
    """The callback of a kind: bar, lines, off, or auto: a bar in a terminal or a notebook, lines elsewhere."""
    kind = shown_as(kind)
    return {"bar": Bar, "notebook": BarInNotebook, "lines": Lines}[kind]() if kind != "off" else None


def shown_as(kind: str) -> str:
    """What a kind means here: bar, notebook, lines or off."""
    if kind in ("auto", "bar") and is_in_notebook():
        return "notebook"
    return kind if kind != "auto" else "bar" if sys.stderr.isatty() else "lines"


def announce(choice: Choice, kind: str) -> None:
    """Say before a run, where its progress is shown outside a notebook, what was chosen for the step."""
    if shown_as(kind) in ("bar", "lines"):
        print_line(f"the step is {'' if choice.compiled else 'not '}compiled: {choice.why}")


class Lines(pl.Callback):
    """One line on stderr every tenth of the run."""

    printed = 0  # tenths

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, Recorded)
        step, last = trainer.global_step, pl_module.config.max_steps
        if pl_module.record.row_step == step and step * LINES // last > self.printed:
            self.printed = step * LINES // last
            print_line(f"step {step:>{len(str(last))}}/{last}  {_numbers(pl_module.record)}")


class Bar(pl.Callback):
    """A bar on stderr with the latest numbers."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Recorded)
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[numbers]}"), TimeRemainingColumn())
        self.bar = Progress(*columns, console=Console(stderr=True), refresh_per_second=4)
        self.task = self.bar.add_task("", total=pl_module.config.max_steps, completed=trainer.global_step, numbers="")
        self.bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, Recorded)
        self.bar.update(self.task, completed=trainer.global_step, numbers=_numbers(pl_module.record))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.bar.stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.bar.stop()


class BarInNotebook(pl.Callback):
    """A bar below the cell with the latest numbers; it goes when training ends."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.bar = NotebookBar()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, Recorded)
        step, last = trainer.global_step, pl_module.config.max_steps
        self.bar.update(step, last, f"{step}/{last}  {_numbers(pl_module.record)}")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.bar.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.bar.close()


def _numbers(record: Record) -> str:
    row = record.row
    parts = [f"loss {row['loss']:.3f}"] if "loss" in row else []
    held_out = record.held_out
    parts += [f"nll {held_out.nll:.3f}"] if held_out else []
    parts += [f"kl {held_out.kl:.3f}"] if held_out and held_out.kl is not None else []
    parts += [f"{row['steps_per_second']:.0f} steps/s"] if row else []
    return "  ".join(parts)
