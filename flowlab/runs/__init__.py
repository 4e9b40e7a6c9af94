"""A run directory: what a training writes, and how it is read again."""
