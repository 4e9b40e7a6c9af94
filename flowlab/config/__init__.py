"""From Hydra's YAML and a user's words to a checked configuration. Nothing here imports torch."""
