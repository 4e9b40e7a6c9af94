"""Figures that only the lessons draw: pure functions of arrays, imported by notebooks of the folder above."""

from lesson_figures.change_of_variables import linearisation, local_mass, moved_mass, parallelogram
from lesson_figures.curves import loss_and_points, loss_curves
from lesson_figures.densities import density_and_target, density_chains, density_row, samples_and_densities
from lesson_figures.display import Animation, Sliders, animate, map_and_density, show
from lesson_figures.family import Relative, relatives, spline_map, warped_grids
from lesson_figures.groups import curve_groups, saturation
from lesson_figures.histograms import estimates, histogram, histograms
from lesson_figures.inference import brackets, posterior_intervals
from lesson_figures.kink import kink_gradient, kink_spike
from lesson_figures.lake import Trips, lake_policies, maximize_likelihood, water_probability
from lesson_figures.layers import between, layer_grids, transported_density
from lesson_figures.norms import norm_bands
from lesson_figures.roc import roc_curves
from lesson_figures.sampling import importance_weights, rejection
from lesson_figures.scaling import cost_curves, moving_points
from lesson_figures.slices import conditional_curves, conditionals

__all__ = [
    "Animation",
    "Relative",
    "Sliders",
    "Trips",
    "animate",
    "between",
    "brackets",
    "conditional_curves",
    "conditionals",
    "cost_curves",
    "curve_groups",
    "density_and_target",
    "density_chains",
    "density_row",
    "estimates",
    "histogram",
    "histograms",
    "importance_weights",
    "kink_gradient",
    "kink_spike",
    "lake_policies",
    "layer_grids",
    "linearisation",
    "local_mass",
    "loss_and_points",
    "loss_curves",
    "map_and_density",
    "maximize_likelihood",
    "moved_mass",
    "moving_points",
    "norm_bands",
    "parallelogram",
    "posterior_intervals",
    "rejection",
    "relatives",
    "roc_curves",
    "samples_and_densities",
    "saturation",
    "show",
    "spline_map",
    "transported_density",
    "warped_grids",
    "water_probability",
]
