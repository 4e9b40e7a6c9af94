"""The operating system: files, locks, signals, the process, the terminal and the notebook."""
