"""Pictures in a notebook: with an alternative text, with sliders, or animated."""

from lesson_figures.display.animation import Animation, animate
from lesson_figures.display.picture import show
from lesson_figures.display.sliders import Sliders, map_and_density

__all__ = ["Animation", "Sliders", "animate", "map_and_density", "show"]
