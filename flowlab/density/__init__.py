"""Fit in memory: a module by any data, or a flow by its name to a table."""
