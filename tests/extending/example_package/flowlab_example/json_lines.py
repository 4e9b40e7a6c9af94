"""A logger: a plain class with the methods of a logger of PyTorch Lightning."""

import json
from pathlib import Path


class JSONLines:
    """Writes a JSON object on one line for each row of metrics and for the names of the figures.

    Arguments:
        save_dir: the run directory; flowlab passes it.
        file: the name of the file in the run directory.
    """

    def __init__(self, save_dir: str, file: str = "rows.jsonl"):
        self.path = Path(save_dir, file)

    def log_metrics(self, metrics, step):
        self._write({"step": step, **metrics})

    def log_figures(self, figures, step):
        self._write({"step": step, "figures": sorted(figures)})

    def finalize(self, status):
        self._write({"status": status})

    def _write(self, row):
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
