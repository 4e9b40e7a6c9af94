"""Eight schools: the posterior by a flow, next to a long run of NUTS.

    python experiments/eight_schools.py
    python experiments/eight_schools.py --nuts

The first command trains a flow on the log density below and compares it with the record. The second makes the record,
`experiments/results/eight_schools.json`, in an environment with numpyro.

Eight schools measured what coaching does for the score of a test (Rubin 1981). The model, y_j ~ N(theta_j, sigma_j),
theta_j ~ N(mu, tau), mu ~ N(0, 5), tau ~ half-Cauchy(5), is that of Gelman and others. It is non-centred here:
theta_j = mu + tau eta_j with eta_j ~ N(0, 1), which removes the funnel between tau and theta.

Reference:
    | Estimation in Parallel Randomized Experiments (Donald B. Rubin, 1981)
    | https://doi.org/10.3102/10769986006004377
    | Bayesian Data Analysis, 3rd edition, section 5.5 (Andrew Gelman and others, 2013)
    | http://www.stat.columbia.edu/~gelman/book/
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas
    from torch import Tensor

    from flowlab import Flow

EFFECTS = (28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0)
ERRORS = (15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0)
RECORD = Path(__file__).parent / "results" / "eight_schools"


SUPPORT = ("real", "positive", *["real"] * len(EFFECTS))
FLOW = ("flow=realnvp", "flow.depth=6", "flow.hidden=[32,32]")


def log_density(x: Tensor) -> Tensor:
    """The log posterior up to a constant, in nats, at points (mu, tau, eta_1 ... eta_8) of shape (n, 10)."""
    import torch
    from torch.distributions import HalfCauchy, Normal

    mu, tau, eta = x[:, 0], x[:, 1], x[:, 2:]
    theta = mu[:, None] + tau[:, None] * eta
    prior = Normal(0, 5).log_prob(mu) + HalfCauchy(5).log_prob(tau) + Normal(0, 1).log_prob(eta).sum(1)
    return prior + Normal(theta, torch.tensor(ERRORS).to(x)).log_prob(torch.tensor(EFFECTS).to(x)).sum(1)


def quantities(x: Tensor) -> Tensor:
    """mu, tau, theta_1 ... theta_8, of shape (n, 10)."""
    import torch

    return torch.cat([x[:, :2], x[:, :1] + x[:, 1:2] * x[:, 2:]], 1)


def fit_flow(steps: int = 3000, seed: int = 0) -> Flow:
    """A coupling flow that is fitted to the posterior by the reverse KL divergence."""
    import flowlab
    from flowlab.seeding import generator

    flow = flowlab.compose(*FLOW).flow.build((len(SUPPORT),), None, generator(seed, "initialization"))
    how = {"steps": steps, "batch_size": 256, "lr": 0.005, "seed": seed}
    return flowlab.fit(flow, log_density=log_density, support=list(SUPPORT), **how).flow


def compare_with_record(flow: Flow, draws: int = 100_000) -> pandas.DataFrame:
    """Posterior means and deviations by the flow and by NUTS."""
    from nuts import compare, weighted_moments

    from flowlab.claims import load_record

    return compare(weighted_moments(flow, log_density, quantities, draws), load_record(RECORD.name).table)


def model() -> None:
    """The same model for numpyro."""
    import jax.numpy as jnp
    import numpyro
    from numpyro import distributions as dist

    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("schools", len(EFFECTS)):
        eta = numpyro.sample("eta", dist.Normal(0, 1))
        theta = numpyro.deterministic("theta", mu + tau * eta)
        numpyro.sample("y", dist.Normal(theta, jnp.array(ERRORS)), obs=jnp.array(EFFECTS))


def make_record() -> None:
    from nuts import run_nuts, write_record

    draws, how = run_nuts(model, draws=50_000, acceptance=0.99)
    named = {"mu": draws["mu"], "tau": draws["tau"]}
    named |= {f"theta{school + 1}": draws["theta"][..., school] for school in range(len(EFFECTS))}
    write_record(RECORD, named, how)


if __name__ == "__main__":
    import nuts

    sys.exit(nuts.main(__doc__, make_record, fit_flow, log_density, compare_with_record))
