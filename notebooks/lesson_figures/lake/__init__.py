"""The lake of lessons 10a and 10b: trips around it, policies that imitate them, and their figure."""

from lesson_figures.lake.policies import lake_policies
from lesson_figures.lake.trips import Trips, maximize_likelihood, water_probability

__all__ = ["Trips", "lake_policies", "maximize_likelihood", "water_probability"]
