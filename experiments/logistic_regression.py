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

import argparse
from pathlib import Path
from typing import Any

import numpy as np

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

    draws, how = run_nuts(model)
    named = {name: draws["weights"][..., place] for place, name in enumerate(load_table()[2])}
    write_record(RECORD, named, how)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nuts", action="store_true", help="make the record by NUTS; needs numpyro")
    if parser.parse_args().nuts:
        make_record()


if __name__ == "__main__":
    main()
