"""Figures of variational inference: posteriors beside each other, and bounds on log Z."""

from lesson_figures.inference.brackets import brackets
from lesson_figures.inference.intervals import posterior_intervals

__all__ = ["brackets", "posterior_intervals"]
