"""Optimizers as pure functions: rows of numbers in, rows of numbers out."""

from flowlab.optimizers.base import SGD, Adam, AdamW, Optimizer, as_optimizer

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "as_optimizer"]
