"""Loggers: where the rows, figures and results of a run go besides its directory."""
