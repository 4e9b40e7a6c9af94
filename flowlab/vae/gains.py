"""Compare posteriors over seeds: the gain over one of them, and how much of it is the bound and how much the model."""

from __future__ import annotations

import math
from typing import Any

import pandas

COVERAGE = 0.95


def split_gains(rows: pandas.DataFrame, reference: str = "diagonal") -> pandas.DataFrame:
    """Means over seeds with 95 % intervals, and the gains over a reference, in nats.

    The gain in ELBO is a sum. The gain of the model is that in log p(x). The gain of the bound is the rest: by how much
    log p(x) - ELBO has become smaller. Gains are paired by seed. Intervals are Student's, for the mean over seeds.

    Arguments:
        rows: a row for each posterior and seed, with the columns data, posterior, seed, elbo, log_prob, active and
            parameters.
        reference: the posterior that the others are compared with.

    Returns:
        a row for each cell, with data, posterior, seeds, active units and parameters. It has the means elbo, log_prob,
        gap, gain, model and bound, each with half of its interval, as elbo_interval. Gains are NaN without a reference.

    Example:
        >>> import pandas
        >>> from flowlab.vae.gains import split_gains
        >>> cells = {"data": "d", "posterior": ["diagonal", "iaf"], "seed": 0, "elbo": [-10.0, -8.0]}
        >>> rows = pandas.DataFrame(cells | {"log_prob": [-9.0, -7.5], "active": 2, "parameters": 5})
        >>> split_gains(rows)[["posterior", "gain", "model", "bound"]].values.tolist()
        [['diagonal', 0.0, 0.0, 0.0], ['iaf', 2.0, 1.5, 0.5]]
    """
    lines = []
    for (data, posterior), cell in rows.groupby(["data", "posterior"], sort=False):
        other = rows[(rows.data == data) & (rows.posterior == reference)].set_index("seed")
        cell = cell.set_index("seed")
        line: dict[str, Any] = {"data": data, "posterior": posterior, "seeds": len(cell)}
        gains = cell[["elbo", "log_prob"]] - other[["elbo", "log_prob"]].reindex(cell.index)
        parts = {"elbo": cell.elbo, "log_prob": cell.log_prob, "gap": cell.log_prob - cell.elbo}
        parts |= {"gain": gains.elbo, "model": gains.log_prob, "bound": gains.elbo - gains.log_prob}
        for name, values in parts.items():
            line[name], line[f"{name}_interval"] = values.mean(), half_width(values)
        lines.append(line | {"active": cell.active.mean(), "parameters": int(cell.parameters.iloc[0])})
    return pandas.DataFrame(lines)


def half_width(values: pandas.Series) -> float:
    """Half the 95 % interval of the mean of some numbers; NaN for fewer than two."""
    from scipy.stats import t as student_t

    if len(values) < 2:
        return math.nan
    return float(student_t.ppf((1 + COVERAGE) / 2, len(values) - 1) * values.std() / math.sqrt(len(values)))
