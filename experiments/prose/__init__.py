"""Prose of the repository: its passages, its sentences, and the phrases that the house rule replaces."""
