"""Several processes (ranks) that train one run."""
