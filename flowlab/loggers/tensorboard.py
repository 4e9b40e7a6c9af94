"""TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowlab.config.component import setting
from flowlab.config.errors import ConfigError
from flowlab.config.registry import register
from flowlab.loggers.base import Logger

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.utils.tensorboard import SummaryWriter

    from flowlab.runs.directory import Run


@register("logger", "tensorboard")
@dataclass(kw_only=True)
class TensorBoard(Logger):
    """Event files for TensorBoard, in `tensorboard/` of the run directory: `tensorboard --logdir RUN_DIR`.

    Arguments:
        figures_every: steps from one drawing of the figures to the next; None draws them at the end alone.
    """

    figures_every: int | None = setting(2500, minimum=1)

    def check(self) -> None:
        try:
            import tensorboard  # noqa: F401
        except ImportError:
            raise ConfigError(
                "logger=tensorboard: needs the package tensorboard; in a clone of flowlab, run "
                "pip install '.[tensorboard]'"
            ) from None

    @contextmanager
    def open(self, run: Run) -> Iterator[EventFiles]:
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(run.directory / "tensorboard") as writer:
            yield EventFiles(writer)


class EventFiles:
    """The sink: scalars and images in event files."""

    def __init__(self, writer: SummaryWriter) -> None:
        self.writer = writer

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)

    def log_figures(self, figures: Mapping[str, Figure], step: int) -> None:
        for name, figure in figures.items():
            self.writer.add_figure(name, figure, step, close=False)
