"""Objectives: the losses that training minimizes."""

from flowlab.objectives.base import MaximumLikelihood, Objective, ReverseKL

__all__ = ["MaximumLikelihood", "Objective", "ReverseKL"]
