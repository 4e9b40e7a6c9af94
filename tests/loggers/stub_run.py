"""A run directory without training, for tests of loggers."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas

from flowlab import compose


@dataclass
class StubRun:
    directory: Path
    config: Any
    provenance: dict = field(default_factory=lambda: {"run_id": "abcd1234", "group": None})

    def has_checkpoint(self, weights):
        return (self.directory / f"checkpoints/{weights}.ckpt").is_file()

    @property
    def metrics(self):
        return pandas.read_csv(self.directory / "metrics.csv")


def stub_run(directory, *words):
    directory.mkdir(exist_ok=True)
    return StubRun(directory, compose(*words))


def make_row(step):
    """Return a row of metrics.csv; every second row has metrics."""
    metrics = {"nll": 4 + 1 / step, "kl": 1 / 3} if step % 200 == 0 else {}
    return {"loss": 1 / step, **metrics, "grad_norm": 0.5, "lr": 0.01, "steps_per_second": 100.0, "seconds": step / 100}


def log_rows(sinks, steps):
    """Log rows as training does: skip the rows that metrics.csv already has."""
    logged = sinks[0].last_step
    for step in steps:
        for sink in sinks:
            if step > logged:
                sink.log_metrics(make_row(step), step)
