"""Figures: pure functions of arrays and tables, and those that every run leaves."""

from flowlab.plotting.change_of_variables import linearisation, local_mass, moved_mass, parallelogram
from flowlab.plotting.curves import loss_curves
from flowlab.plotting.densities import density_panels, run_densities
from flowlab.plotting.figures import deformation, density_pair, loss_curve, scatter_pair
from flowlab.plotting.fingerprint import fingerprint
from flowlab.plotting.groups import curve_groups
from flowlab.plotting.kink import kink_gradient, kink_spike
from flowlab.plotting.labels import setting_labels
from flowlab.plotting.of_run import flow_samples, grid_density, layer_samples, run_figures, target_density
from flowlab.plotting.saturation import saturation
from flowlab.plotting.style import save_figure
from flowlab.plotting.sweep import sweep_heatmap, sweep_lines

__all__ = [
    "curve_groups",
    "deformation",
    "density_pair",
    "density_panels",
    "fingerprint",
    "flow_samples",
    "grid_density",
    "kink_gradient",
    "kink_spike",
    "layer_samples",
    "linearisation",
    "local_mass",
    "loss_curve",
    "loss_curves",
    "moved_mass",
    "parallelogram",
    "run_densities",
    "run_figures",
    "saturation",
    "save_figure",
    "scatter_pair",
    "setting_labels",
    "sweep_heatmap",
    "sweep_lines",
    "target_density",
]
