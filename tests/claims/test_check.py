import json
import math

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from reproduction.notebooks import from_record

from flowlab import claims
from flowlab.claims.check import Check, Measured
from flowlab.claims.ledger import Claim, LedgerError, Quantity


def holds(quantity, *values, standard_error=None):
    return Measured(Quantity(**quantity), values, standard_error).holds


@pytest.mark.parametrize(
    ("quantity", "inside", "outside"),
    [
        ({"reference": 2.0, "tolerance": 0.1}, 2.09, 2.11),
        ({"reference": 2.0, "tolerance": 0.1}, 1.91, 1.89),
        ({"reference": 16, "tolerance": 0}, 16, 15),
        ({"at_least": 0.01}, 0.01, 0.0099),
        ({"at_most": 0.05}, 0.05, 0.0501),
        ({"at_least": 1, "at_most": 2}, 1.5, 2.5),
    ],
)
def test_each_rule_holds_up_to_its_bound(quantity, inside, outside):
    assert holds(quantity, inside)
    assert not holds(quantity, outside)
    assert not holds(quantity, math.nan)


def test_every_value_of_a_quantity_must_hold():
    assert holds({"reference": (1.0, 2.0), "tolerance": 0.1}, 1.0, 2.0)
    assert not holds({"reference": (1.0, 2.0), "tolerance": 0.1}, 1.0, 2.2)
    assert not holds({"at_most": 0.1}, 0.0, 0.2)
    assert not holds({"at_least": 0.1}, 0.0, 0.2)


def test_an_estimate_is_compared_by_its_standard_error():
    quantity = {"reference": 4.0, "standard_errors": 3}
    assert holds(quantity, 4.29, standard_error=0.1)
    assert not holds(quantity, 4.31, standard_error=0.1)


def test_a_reported_value_holds_unless_it_is_nan():
    assert holds({}, 1e9)
    assert holds({"reference": 1.0}, 1e9)
    assert not holds({}, math.nan)


def test_check_prints_values_references_differences_and_verdict(capsys):
    claims.check("K3", directly=-2.9389886, by_the_bijector=torch.tensor(-2.9389886, dtype=torch.float64))
    assert capsys.readouterr().out.splitlines() == [
        "K3 holds",
        "   directly: reference -2.938989, ours -2.938989, difference at most 1e-06",
        "   by the bijector: reference -2.938989, ours -2.938989, difference at most 1e-06",
    ]
    claims.check("K3", directly=-2.9389886, by_the_bijector=-2.94)
    out = capsys.readouterr().out
    assert out.startswith("K3 refuted")
    assert "ours -2.940000, difference 0.001  <- does not hold" in out


def test_a_claim_with_one_quantity_takes_a_positional_value(capsys):
    claims.check("K4", 1.0000003)
    assert capsys.readouterr().out == "K4 holds: reference 1.000000, ours 1.000000, difference at most 1e-06\n"


def test_a_claim_with_an_erratum_has_its_own_verdict():
    values = {"base": [0.5, 0.6914625, 0.8413447], "transformed": np.array([0.5, 0.6914625, 0.8413447])}
    assert claims.judge("K6", **values).verdict == "holds with erratum"
    assert claims.judge("K6", **values | {"base": [0.5, 0.5, 0.5]}).verdict == "refuted"


def test_rounding_errors_are_printed_as_their_bound():
    """Rounding errors differ between machines, and nbval compares the printed text."""
    assert "values: at most 1e-06, ours at most 1e-06" in str(
        claims.judge("K7", values=3e-8, log_dets=0.0, gradients=1e-7)
    )
    assert "values: at most 1e-06, ours 0.002" in str(claims.judge("K7", values=2e-3, log_dets=0.0, gradients=1e-7))


def test_minus_zero_is_printed_as_zero():
    quantity = Quantity(name="x", reference=0.0, tolerance=1e-3)
    claim = Claim(id="A", document="Jang", statement="", source="", notebook="", quantities=(quantity,))
    check = Check(claim, (Measured(quantity, (-1e-9,)),))
    assert "ours 0.000," in str(check)


@pytest.mark.parametrize(
    ("arguments", "values", "message"),
    [
        (("K99", 1.0), {}, "'K99': the ledger has no such claim"),
        (("K3", 1.0), {}, "K3: give its quantities by name: directly, by_the_bijector"),
        (("K3",), {"directly": 1.0}, "K3: got directly; its quantities are directly, by_the_bijector"),
        (("K4",), {}, "K4: got nothing; its quantities are mass"),
        (("K4", [1.0, 1.0]), {}, r"K4: mass=\[1.0, 1.0\]: must be 1 number"),
        (
            ("J22",),
            dict.fromkeys(("gradient_of_the_shift", "gradient_of_the_scale"), (2.0, math.inf)),
            "J22: .*positive",
        ),
        (("J22",), dict.fromkeys(("gradient_of_the_shift", "gradient_of_the_scale"), (2.0, 0.0)), "J22: .*positive"),
        (("J7",), dict.fromkeys(("mean_x1", "variance_x1", "mean_x2", "variance_x2", "entropy"), 4.0), "J7: mean_x1"),
    ],
)
def test_values_that_do_not_fit_the_claim_are_refused(arguments, values, message):
    with pytest.raises(LedgerError, match=message):
        claims.judge(*arguments, **values)


def test_a_record_is_plain_json_and_builds_the_same_check():
    pair = (4.0, 0.01)
    moments = {"mean_x1": pair, "variance_x1": (33.0, 0.1), "mean_x2": (0.0, 0.1), "variance_x2": (16.0, 0.3)}
    check = claims.judge("J7", **moments, entropy=math.inf)
    text = json.dumps(check.record(), allow_nan=False)
    assert from_record(json.loads(text)) == check


def test_show_prints_fingerprints(capsys):
    claims.show("FJ1", Figure(), {"areas": [1.0, 1.0]}, digits=1)
    assert capsys.readouterr().out == "fingerprint areas: shape (2,), min 1.0, mean 1.0, max 1.0\n"
    with pytest.raises(LedgerError, match="FJ1: drawn={}: must name the data behind the figure"):
        claims.show("FJ1", Figure(), {})
    with pytest.raises(LedgerError, match="'FJ99': the ledger has no such figure"):
        claims.show("FJ99", Figure(), {"areas": [1.0]})
