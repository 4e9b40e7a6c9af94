"""The gain over a reference is split exactly into bound and model, with intervals over seeds."""

import math

import pandas
import pytest

from flowlab.vae.gains import half_width, split_gains


def test_gains_are_paired_by_seed_and_split_exactly():
    rows = pandas.DataFrame(
        {
            "data": "digits",
            "posterior": ["diagonal"] * 3 + ["full"] * 3,
            "seed": [0, 1, 2] * 2,
            "elbo": [-10.0, -11.0, -12.0, -8.0, -9.0, -10.0],
            "log_prob": [-9.0, -10.0, -11.0, -7.5, -8.5, -9.5],
            "active": 2,
            "parameters": 5,
        }
    )
    full = split_gains(rows).set_index("posterior").loc["full"]
    assert (full.gain, full.model, full.bound) == (2.0, 1.5, 0.5)
    assert full.gain_interval == pytest.approx(0.0), "paired, all gains are equal"
    assert full.elbo_interval == pytest.approx(4.303 / 3**0.5, rel=1e-3), "Student's interval of three numbers"
    assert full.gap == pytest.approx(0.5)


def test_a_cell_without_a_reference_has_no_gain():
    cells = {"data": "digits", "posterior": "iaf", "seed": [0, 1], "elbo": -8.0, "log_prob": -7.0}
    (row,) = split_gains(pandas.DataFrame(cells | {"active": 2, "parameters": 5})).itertuples()
    assert math.isnan(row.gain)
    assert (row.elbo, row.gap) == (-8.0, 1.0)
    assert math.isnan(half_width(pandas.Series([1.0])))
