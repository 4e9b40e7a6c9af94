"""Figures of the lesson on variational autoencoders."""

from lesson_figures.autoencoders.gains import gain_bars
from lesson_figures.autoencoders.images import image_rows
from lesson_figures.autoencoders.posteriors import posterior_row

__all__ = ["gain_bars", "image_rows", "posterior_row"]
