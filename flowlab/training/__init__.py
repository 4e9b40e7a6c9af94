"""From a configuration to a run directory: streams, the Lightning module, evaluation, loggers."""
