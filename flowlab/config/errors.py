"""Errors for a user's mistake: each message names the key, its value, what is allowed and what to type instead."""


class ConfigError(ValueError):
    """A configuration that cannot be run: the message names the key, its value and what is allowed."""


class DataError(ConfigError):
    """A data file that cannot be used, with the reason and the remedy."""
