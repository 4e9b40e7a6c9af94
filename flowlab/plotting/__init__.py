"""Figures of runs and sweeps: pure functions of arrays and tables."""

from flowlab.plotting.calibration import coverage_curves, rank_histograms
from flowlab.plotting.figures import deformation, density_pair, loss_curve, save_figure, scatter_pair
from flowlab.plotting.labels import fingerprint, fitted_exponent, setting_labels
from flowlab.plotting.panels import density_panels, run_densities
from flowlab.plotting.runs import flow_samples, grid_density, layer_samples, run_figures, target_density
from flowlab.plotting.sweep import sweep_heatmap, sweep_lines

__all__ = [
    "coverage_curves",
    "deformation",
    "density_pair",
    "density_panels",
    "fingerprint",
    "fitted_exponent",
    "flow_samples",
    "grid_density",
    "layer_samples",
    "loss_curve",
    "rank_histograms",
    "run_densities",
    "run_figures",
    "save_figure",
    "scatter_pair",
    "setting_labels",
    "sweep_heatmap",
    "sweep_lines",
    "target_density",
]
