"""Figures: pure functions of arrays and tables, and those that every run leaves."""

from flowlab.plotting.chains import density_chains
from flowlab.plotting.change_of_variables import linearisation, local_mass, moved_mass, parallelogram
from flowlab.plotting.coinciding import coinciding_curves
from flowlab.plotting.curves import loss_curves
from flowlab.plotting.densities import density_panels, run_densities
from flowlab.plotting.figures import (
    deformation,
    density_pair,
    loss_curve,
    samples_and_densities,
    scatter_pair,
)
from flowlab.plotting.fingerprints import fingerprint
from flowlab.plotting.groups import curve_groups
from flowlab.plotting.histograms import histogram, histograms
from flowlab.plotting.kink import kink_gradient, kink_spike
from flowlab.plotting.labels import setting_labels
from flowlab.plotting.lake import lake_policies
from flowlab.plotting.norms import norm_bands
from flowlab.plotting.of_run import flow_samples, grid_density, layer_samples, run_figures, target_density
from flowlab.plotting.roc import roc_curves
from flowlab.plotting.sampling import importance_weights, rejection
from flowlab.plotting.saturating import saturation
from flowlab.plotting.scaling import cost_curves, fitted_exponent
from flowlab.plotting.slices import conditionals
from flowlab.plotting.sliders import Sliders, map_and_density
from flowlab.plotting.style import save_figure
from flowlab.plotting.sweep import sweep_heatmap, sweep_lines

__all__ = [
    "Sliders",
    "coinciding_curves",
    "conditionals",
    "cost_curves",
    "curve_groups",
    "deformation",
    "density_chains",
    "density_pair",
    "density_panels",
    "fingerprint",
    "fitted_exponent",
    "flow_samples",
    "grid_density",
    "histogram",
    "histograms",
    "importance_weights",
    "kink_gradient",
    "kink_spike",
    "lake_policies",
    "layer_samples",
    "linearisation",
    "local_mass",
    "loss_curve",
    "loss_curves",
    "map_and_density",
    "moved_mass",
    "norm_bands",
    "parallelogram",
    "rejection",
    "roc_curves",
    "run_densities",
    "run_figures",
    "samples_and_densities",
    "saturation",
    "save_figure",
    "scatter_pair",
    "setting_labels",
    "sweep_heatmap",
    "sweep_lines",
    "target_density",
]
