"""The operating system: files, signals, locks, the terminal."""
