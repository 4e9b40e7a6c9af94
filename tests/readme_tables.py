"""The figures of README.md, computed from the recorded results."""

from pathlib import Path

import pandas

import flowlab
from flowlab.cli.product import list_jobs
from flowlab.config.compose import compose_yaml, parse_overrides

ROOT = Path(__file__).parent.parent
KEYS = ("name", "map", "depth", "hidden")  # tell the architectures of the sweep apart, with `fast`
SHOWN = {"banana": "banana", "checkerboard": "checkerboard", "two_moons": "two moons"}


def architectures():
    """Return the median KL over seeds in nats: a row for each architecture, by the name of its preset."""
    words = compose_yaml(["+sweep=architectures"], hydra_settings=True).hydra.sweeper.params
    jobs = list_jobs(parse_overrides([f"{key}={value}" for key, value in words.items()] + ["target=banana", "seed=0"]))
    names = {}
    for job in jobs:
        settings = flowlab.compose(*job).flow
        names[tuple(str(getattr(settings, key, "")) for key in (*KEYS, "fast"))] = job[0].partition("=")[2]
    table = pandas.read_csv(ROOT / "experiments" / "results" / "architectures.csv", dtype={"flow.depth": str})
    assert (table["status"] == "done").all()
    settings = table[[f"flow.{key}" for key in (*KEYS, "fast")]].fillna("").astype(str)
    table["flow"] = [names[tuple(row)] for row in settings.to_numpy()]
    full = table["target.mean"].notna() & (table["target.mean"] != "[1.0, 1.0]")
    table["target"] = table["target.name"].mask(full, "gaussian_full")
    kl = table.pivot_table(index="flow", columns="target", values="kl", aggfunc="median")
    assert kl.shape == (8, 8)
    assert kl.notna().all(axis=None)
    shown = kl[list(SHOWN)].rename(columns=SHOWN)
    shown.insert(0, "mean of eight targets", kl.mean(axis=1))
    return shown.sort_values("mean of eight targets")
