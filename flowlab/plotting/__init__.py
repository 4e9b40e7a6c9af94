"""Figures: pure functions of arrays, and those that every run leaves."""

from flowlab.plotting.figures import deformation, density_pair, loss_curve, scatter_pair
from flowlab.plotting.fingerprint import fingerprint
from flowlab.plotting.of_run import flow_samples, grid_density, layer_samples, run_figures
from flowlab.plotting.style import save_figure

__all__ = [
    "deformation",
    "density_pair",
    "fingerprint",
    "flow_samples",
    "grid_density",
    "layer_samples",
    "loss_curve",
    "run_figures",
    "save_figure",
    "scatter_pair",
]
