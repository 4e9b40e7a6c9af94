"""Posterior means and deviations by a long run of NUTS, with Monte Carlo errors, and by a flow beside it.

`experiments/eight_schools.py` and `experiments/logistic_regression.py` call this module with their own models. NUTS
runs once, for a record. It needs numpyro, which nothing else here needs: `pip install numpyro` in an environment of its
own.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas
    from torch import Tensor

    from flowlab import Flow

CHAINS, WARMUP, SEED = 4, 5_000, 0


def main(
    description: str,
    make_record: Callable[[], None],
    fit_flow: Callable[[], Flow],
    log_density: Callable[[Tensor], Tensor],
    compare_with_record: Callable[[Flow], pandas.DataFrame],
) -> int:
    """The command of a posterior: make its record by NUTS, or fit a flow and compare it; return the exit status."""
    from flowlab.cli.command import OK, report_mistakes
    from flowlab.diagnostics.diagnose import diagnose

    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nuts", action="store_true", help="make the record by NUTS; needs numpyro")
    wants_record = parser.parse_args().nuts

    def work() -> int:
        if wants_record:
            make_record()
            return OK
        flow = fit_flow()
        print(diagnose(flow, log_density, draws=100_000))
        print(compare_with_record(flow).round(3).to_string(index=False))
        return OK

    return report_mistakes(work, "nothing was written")


def run_nuts(
    model: Callable[[], None], draws: int, acceptance: float
) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
    """Draws of every parameter and deterministic quantity, of shape (chains, draws, *), and how they were made.

    Arguments:
        model: a model of numpyro.
        draws: of each chain, after the warm-up.
        acceptance: the acceptance probability that the step size aims at; a higher one avoids divergences.
    """
    import jax
    import numpyro
    from numpyro.infer import MCMC, NUTS

    numpyro.enable_x64()
    began = time.monotonic()
    kernel = NUTS(model, target_accept_prob=acceptance)
    chains = MCMC(
        kernel,
        num_warmup=WARMUP,
        num_samples=draws,
        num_chains=CHAINS,
        chain_method="sequential",
        progress_bar=False,
    )
    chains.run(jax.random.PRNGKey(SEED), extra_fields=("diverging",))
    found = {name: np.asarray(values) for name, values in chains.get_samples(group_by_chain=True).items()}
    how = {
        "chains": CHAINS,
        "warmup": WARMUP,
        "draws_of_each_chain": draws,
        "seed": SEED,
        "target_acceptance": acceptance,
        "divergences": int(np.sum(chains.get_extra_fields()["diverging"])),
        "seconds": round(time.monotonic() - began, 1),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("numpyro", "jax")},
    }
    return found, how


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
    rows: list[dict[str, Any]] = [{"name": name, **describe(values)} for name, values in draws.items()]
    with path.with_suffix(".csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    origin = {"command": [f"experiments/{path.name}.py", "--nuts"], **how}
    path.with_suffix(".json").write_text(json.dumps(origin, indent=1) + "\n", encoding="utf-8")
    print(f"{path.name}: {how['divergences']} divergences, {how['seconds']} s")
    for row in rows:
        print("{name:>20} {mean:9.4f} +- {mean_error:.4f}  sd {sd:8.4f} +- {sd_error:.4f}".format(**row))


def weighted_moments(
    flow: Flow,
    log_density: Callable[[Tensor], Tensor],
    quantities: Callable[[Tensor], Tensor],
    draws: int,
    seed: int = 0,
) -> pandas.DataFrame:
    """Mean and deviation of quantities of the target, from Pareto smoothed weights of draws of a flow.

    Arguments:
        flow: the flow.
        log_density: of the target, up to a constant, in nats.
        quantities: a function of points of shape (n, d), of shape (n, k).
        draws: of the flow, in one piece.
        seed: of the draws.

    Returns:
        A row for each quantity, with the columns mean, mean_error, sd and sd_error; errors are Monte Carlo errors.
    """
    import pandas
    import torch

    from flowlab.diagnostics.pareto import smooth_weights
    from flowlab.seeding import generator

    with torch.no_grad():
        points, log_q = flow.rsample_and_log_prob((draws,), generator=generator(seed, "posterior"))
        weights, _ = smooth_weights(log_density(points).double() - log_q.double())
        values = quantities(points).double().numpy()
    mean = weights @ values
    squares = (values - mean) ** 2
    variance = weights @ squares
    mean_error = np.sqrt(weights**2 @ squares)
    sd_error = np.sqrt(weights**2 @ (squares - variance) ** 2 / (4 * variance))
    columns = {"mean": mean, "mean_error": mean_error, "sd": np.sqrt(variance), "sd_error": sd_error}
    return pandas.DataFrame(columns)


def compare(ours: pandas.DataFrame, record: pandas.DataFrame) -> pandas.DataFrame:
    """Our moments beside recorded ones; the last two columns are differences in Monte Carlo errors of both."""
    import pandas

    columns = {"name": record["name"]}
    for what in ("mean", "sd"):
        columns |= {f"{what}": ours[what], f"{what} by NUTS": record[what]}
    for what in ("mean", "sd"):
        error = np.hypot(ours[f"{what}_error"], record[f"{what}_error"])
        columns[f"{what}: errors apart"] = (ours[what] - record[what]) / error
    return pandas.DataFrame(columns)
