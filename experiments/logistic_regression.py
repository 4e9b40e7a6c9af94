"""Bayesian logistic regression on a table: the posterior by a flow, next to a long run of NUTS.

    python experiments/logistic_regression.py
    python experiments/logistic_regression.py --nuts

The first command trains a flow on the log density below and compares it with the record. The second makes the record,
`experiments/results/logistic_regression.json`, in an environment with numpyro. Both need scikit-learn for the table.

The table is scikit-learn's breast_cancer: 569 tumours, malignant or benign, and here the means of ten measurements,
standardized. Coefficients and intercept have the prior N(0, 1). Radius, perimeter and area are nearly collinear, so
the posterior is narrow in some directions and wide in others.

Reference:
    | Nuclear feature extraction for breast tumor diagnosis (W. Nick Street, William H. Wolberg, Olvi L. Mangasarian,
    | 1993)
    | https://doi.org/10.1117/12.148698
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas
    from torch import Tensor

    from flowlab import Flow

RECORD = Path(__file__).parent / "results" / "logistic_regression"
MEASUREMENTS = 10  # the first columns of the table: the means


def load_table() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], list[str]]:
    """Standardized rows with a leading 1 for the intercept, labels, 1 for benign, and the names of the columns."""
    from sklearn.datasets import load_breast_cancer

    table = load_breast_cancer()
    rows = table.data[:, :MEASUREMENTS]
    rows = (rows - rows.mean(0)) / rows.std(0)
    names = [str(name).removeprefix("mean ") for name in table.feature_names[:MEASUREMENTS]]
    return np.column_stack([np.ones(len(rows)), rows]), table.target.astype(float), ["intercept", *names]


FLOW = ("flow=iaf", "flow.depth=4", "flow.hidden=[32]")


def build_log_density() -> Callable[[Tensor], Tensor]:
    """The log posterior up to a constant, in nats, as a function of weights of shape (n, 11)."""
    import torch
    from torch.distributions import Normal
    from torch.nn.functional import logsigmoid

    rows, labels, _ = load_table()
    signed = torch.tensor(
        rows * (2 * labels - 1)[:, None], dtype=torch.float32
    ).T  # log p(label) = logsigmoid(+- logit)

    def log_density(weights: Tensor) -> Tensor:
        return Normal(0, 1).log_prob(weights).sum(1) + logsigmoid(weights @ signed.to(weights)).sum(1)

    return log_density


def fit_flow(steps: int = 3000, seed: int = 0) -> Flow:
    """An inverse autoregressive flow that is fitted to the posterior by the reverse KL divergence."""
    import flowlab
    from flowlab.seeding import generator

    flow = flowlab.compose(*FLOW).flow.build((MEASUREMENTS + 1,), None, generator(seed, "initialization"))
    how = {"steps": steps, "batch_size": 256, "lr": 0.005, "seed": seed}
    return flowlab.fit(flow, log_density=build_log_density(), **how).flow


def compare_with_record(flow: Flow, draws: int = 20_000) -> pandas.DataFrame:
    """Posterior means and deviations by the flow and by NUTS."""
    from nuts import compare, weighted_moments

    from flowlab.claims import load_record

    ours = weighted_moments(flow, build_log_density(), lambda weights: weights, draws)
    return compare(ours, load_record(RECORD.name).table)


def model() -> None:
    """The same model for numpyro."""
    import jax.numpy as jnp
    import numpyro
    from numpyro import distributions as dist

    rows, labels, names = load_table()
    weights = numpyro.sample("weights", dist.Normal(0, 1).expand([len(names)]).to_event(1))
    numpyro.sample("y", dist.Bernoulli(logits=jnp.array(rows) @ weights), obs=jnp.array(labels))


def make_record() -> None:
    from nuts import run_nuts, write_record

    draws, how = run_nuts(model, draws=25_000, acceptance=0.95)
    named = {name: draws["weights"][..., place] for place, name in enumerate(load_table()[2])}
    write_record(RECORD, named, how)


if __name__ == "__main__":
    import nuts

    sys.exit(nuts.main(__doc__, make_record, fit_flow, build_log_density(), compare_with_record))
