"""Architectures: the flows that a configuration can name."""
