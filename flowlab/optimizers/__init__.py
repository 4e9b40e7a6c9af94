"""Optimizers as pure functions: rows of numbers in, rows of numbers out."""
