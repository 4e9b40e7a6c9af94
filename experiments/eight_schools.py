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

import argparse
from pathlib import Path

EFFECTS = (28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0)
ERRORS = (15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0)
RECORD = Path(__file__).parent / "results" / "eight_schools"


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

    draws, how = run_nuts(model)
    named = {"mu": draws["mu"], "tau": draws["tau"]}
    named |= {f"theta{school + 1}": draws["theta"][..., school] for school in range(len(EFFECTS))}
    write_record(RECORD, named, how)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nuts", action="store_true", help="make the record by NUTS; needs numpyro")
    if parser.parse_args().nuts:
        make_record()


if __name__ == "__main__":
    main()
