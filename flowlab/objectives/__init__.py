"""Objectives: the losses that training minimizes."""

from flowlab.objectives.base import MaximumLikelihood, Objective
from flowlab.objectives.density import DensityObjective
from flowlab.objectives.distillation import Distillation
from flowlab.objectives.forward_kl import ForwardKL
from flowlab.objectives.reverse_kl import ReverseKL

__all__ = ["DensityObjective", "Distillation", "ForwardKL", "MaximumLikelihood", "Objective", "ReverseKL"]
