"""Axes that draw all ticks of an axis with one Tick: the same pixels in about half the time where panels are many."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import allow_rasterization
from matplotlib.axes import Axes
from matplotlib.axis import Axis, Tick, XAxis, XTick, YAxis, YTick
from matplotlib.backend_bases import RendererBase
from matplotlib.ticker import NullLocator
from matplotlib.transforms import Bbox


class _SharedTick(Tick):
    """A tick that stands at several places.

    Attributes:
        places: where, in data coordinates, each with its label; without one it is a usual tick.
    """

    places: Sequence[tuple[float, str]] = ()

    def set_marks(self, locs: Sequence[float]) -> None:
        raise NotImplementedError

    def move(self, loc: float, label: str) -> None:
        self.update_position(loc)
        self.label1.set_text(label)

    @allow_rasterization
    def draw(self, renderer: RendererBase) -> None:
        if not self.places:
            super().draw(renderer)
        else:
            locs = [loc for loc, _ in self.places]
            self.set_marks(locs)
            self.tick1line.draw(renderer)
            for loc, label in self.places if self.label1.get_visible() else ():
                self.move(loc, label)
                self.label1.draw(renderer)


class _SharedXTick(_SharedTick, XTick):
    def set_marks(self, locs: Sequence[float]) -> None:
        self.tick1line.set_xdata(locs)


class _SharedYTick(_SharedTick, YTick):
    def set_marks(self, locs: Sequence[float]) -> None:
        self.tick1line.set_ydata(locs)


class _LightAxis(Axis):
    """An axis with one Tick, where matplotlib has one for each place, of five artists, at 0.4 ms.

    Who asks for the ticks gets them all: they are then drawn as usual, as are grids, minor ticks and ticks on the other
    side. Where matplotlib no longer calls these methods, all ticks are drawn as usual.
    """

    _boxes: list[Bbox] | None = None  # of the labels, while the axis is drawn

    @contextlib.contextmanager
    def _without_minor_ticks(self) -> Iterator[None]:
        """Let a setter find no minor ticks; it would make one to set it up."""
        unused = "minorTicks" not in vars(self) and isinstance(self.get_minor_locator(), NullLocator)
        if unused:
            self.minorTicks: list[Tick] = []
        yield
        if unused:
            vars(self).pop("minorTicks", None)

    def set_clip_path(self, path: Any, transform: Any = None) -> None:
        with self._without_minor_ticks():
            super().set_clip_path(path, transform)

    def set_tick_params(self, which: Any = "major", reset: bool = False, **parameters: Any) -> None:
        with self._without_minor_ticks():
            super().set_tick_params(which, reset, **parameters)

    @allow_rasterization
    def draw(self, renderer: RendererBase) -> None:
        self._boxes = []
        try:
            super().draw(renderer)
        finally:
            self._boxes = None

    def _update_ticks(self) -> list[Tick]:
        first = self.majorTicks[0]
        if not isinstance(first, _SharedTick) or not self._is_plain(first):
            return super()._update_ticks()  # type: ignore[misc]
        locs = np.asarray(self.get_majorticklocs())
        labels = self.get_major_formatter().format_ticks(locs.tolist())
        low, high = sorted(self.get_transform().transform(np.asarray(self.get_view_interval())))
        seen, slack = self.get_transform().transform(locs), 1e-10 * (high - low)
        inside = (low - slack <= seen) & (seen <= high + slack)
        first.places = [place for place, shown in zip(zip(locs, labels, strict=True), inside, strict=True) if shown]
        if first.places:
            first.move(*first.places[0])
        return [first] if first.places else []

    def get_major_ticks(self, numticks: int | None = None) -> list[Tick]:
        ticks = super().get_major_ticks(numticks)
        first = self.majorTicks[0] if self.majorTicks else None
        if isinstance(first, _SharedTick) and first.places and len(self.majorTicks) > 1:  # somebody asks for the ticks
            first.places = []
            super()._update_ticks()  # type: ignore[misc]
        return ticks

    def _is_plain(self, first: _SharedTick) -> bool:
        """Whether ticks are marks and labels on the usual side, which nobody has asked for."""
        first.places = []
        others = (first.gridline, first.tick2line, first.label2)
        alone = len(self.majorTicks) == 1 and isinstance(self.get_minor_locator(), NullLocator)
        return alone and not any(part.get_visible() for part in others)

    def _get_ticklabel_bboxes(self, ticks: list[Tick], renderer: RendererBase) -> tuple[list[Bbox], list[Bbox]]:
        first = ticks[0] if ticks else None
        if not isinstance(first, _SharedTick) or not first.places:
            return super()._get_ticklabel_bboxes(ticks, renderer)  # type: ignore[misc]
        if self._boxes is not None and not self.label.get_text() and not self.get_major_formatter().get_offset():
            return [], []  # there is no text beside them
        boxes = self._boxes or []
        for place in first.places if first.label1.get_visible() and not boxes else ():
            first.move(*place)
            boxes.append(first.label1.get_window_extent(renderer))
        if self._boxes is not None:
            self._boxes = boxes
        return boxes, []


class _LightXAxis(_LightAxis, XAxis):
    _tick_class = _SharedXTick


class _LightYAxis(_LightAxis, YAxis):
    _tick_class = _SharedYTick


class LightAxes(Axes):
    """Axes for figures of runs, drawn at the end of every run; pass `subplot_kw=LIGHT` or `**LIGHT`."""

    def _init_axis(self) -> None:
        self.xaxis, self.yaxis = _LightXAxis(self, clear=False), _LightYAxis(self, clear=False)
        for side, axis in zip(("bottom", "top", "left", "right"), [self.xaxis] * 2 + [self.yaxis] * 2, strict=True):
            self.spines[side].register_axis(axis)


LIGHT: dict[str, Any] = {"axes_class": LightAxes}
