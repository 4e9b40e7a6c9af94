"""Long runs of NUTS, once: posterior means and deviations with their Monte Carlo errors.

`experiments/eight_schools.py` and `experiments/logistic_regression.py` call this module with their own models. It needs
numpyro, which nothing else here needs: `pip install numpyro` in an environment of its own.
"""

from __future__ import annotations

import csv
import json
import math
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

CHAINS, WARMUP, DRAWS, SEED = 4, 5_000, 50_000, 0
TARGET_ACCEPTANCE = 0.99


def run_nuts(model: Callable[[], None]) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
    """Draws of every parameter and deterministic quantity, of shape (chains, draws, *), and how they were made."""
    import jax
    import numpyro
    from numpyro.infer import MCMC, NUTS

    numpyro.enable_x64()
    began = time.monotonic()
    kernel = NUTS(model, target_accept_prob=TARGET_ACCEPTANCE)
    chains = MCMC(
        kernel,
        num_warmup=WARMUP,
        num_samples=DRAWS,
        num_chains=CHAINS,
        chain_method="sequential",
        progress_bar=False,
    )
    chains.run(jax.random.PRNGKey(SEED), extra_fields=("diverging",))
    draws = {name: np.asarray(values) for name, values in chains.get_samples(group_by_chain=True).items()}
    how = {
        "chains": CHAINS,
        "warmup": WARMUP,
        "draws_of_each_chain": DRAWS,
        "seed": SEED,
        "target_acceptance": TARGET_ACCEPTANCE,
        "divergences": int(np.sum(chains.get_extra_fields()["diverging"])),
        "seconds": round(time.monotonic() - began, 1),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("numpyro", "jax")},
    }
    return draws, how


def describe(draws: np.ndarray[Any, Any]) -> dict[str, float]:
    """Mean and deviation of one parameter, draws of shape (chains, draws), with their Monte Carlo errors.

    The error of a mean is the deviation over the root of its effective sample size. The error of a deviation s is that
    of the mean of the squared deviations, over 2 s.
    """
    from numpyro.diagnostics import effective_sample_size, split_gelman_rubin

    mean, deviation = float(draws.mean()), float(draws.std())
    squares = (draws - mean) ** 2
    size, size_of_squares = float(effective_sample_size(draws)), float(effective_sample_size(squares))
    return {
        "mean": mean,
        "mean_error": deviation / math.sqrt(size),
        "sd": deviation,
        "sd_error": float(squares.std()) / math.sqrt(size_of_squares) / (2 * deviation),
        "ess": round(size),
        "r_hat": float(split_gelman_rubin(draws)),
    }


def write_record(path: Path, draws: dict[str, np.ndarray[Any, Any]], how: dict[str, Any]) -> None:
    """Write a record, which `flowlab.claims.load_record` reads: a row for each scalar, and how the draws were made.

    Arguments:
        path: PATH.csv and PATH.json are written.
        draws: the draws of each scalar by name, of shape (chains, draws).
        how: from `run_nuts`.
    """
    rows = [{"name": name, **describe(values)} for name, values in draws.items()]
    with path.with_suffix(".csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    origin = {"command": [f"experiments/{path.name}.py", "--nuts"], **how}
    path.with_suffix(".json").write_text(json.dumps(origin, indent=1) + "\n", encoding="utf-8")
    print(f"{path.name}: {how['divergences']} divergences, {how['seconds']} s")
    for row in rows:
        print("{name:>20} {mean:9.4f} +- {mean_error:.4f}  sd {sd:8.4f} +- {sd_error:.4f}".format(**row))
