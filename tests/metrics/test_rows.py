"""The rows behind an NLL."""

import math

import torch

from flowlab.metrics.rows import describe_rows


def test_rows_of_a_test_are_described():
    nlls = torch.ones(1000, dtype=torch.float64)
    nlls[[7, 30]] = torch.tensor([5e6, 60.0], dtype=torch.float64)
    said = describe_rows(nlls, 3.0, torch.arange(1000) * 10)
    assert said["nll_median"] == 1.0
    assert said["worst_rows"][:2] == [[70, 5e6], [300, 60.0]]
    assert len(said["worst_rows"]) == 5
    assert [" ".join(doubt.split()[:3]) for doubt in said["doubts"]] == [
        "nll=5001 is above",
        "nll=5001 has a",
        "1 of 1000",
    ]
    assert (
        "1 of 1000 rows dominates nll=5001: without it it is 1.059, and the median of the rows is 1"
        in said["doubts"][2]
    )
    assert "the worst is row 70, with 5e+06 nats; remove rows that are wrong" in said["doubts"][2]
    nlls[[7, 30, 31]] = 3000.0
    assert "3 of 1000 rows dominate nll=9.997: without them it is 1, and" in describe_rows(nlls, 30.0)["doubts"][-1]
    assert describe_rows(torch.ones(1000) + torch.rand(1000), 3.0)["doubts"] == []


def test_weights_count_as_repeated_rows():
    """The description of weighted rows equals that of repeated rows. A row of weight 0 does not count."""
    draws = torch.Generator().manual_seed(0)
    nlls = 5 * torch.rand(200, generator=draws, dtype=torch.float64)
    nlls[[3, 5]] = torch.tensor([900.0, 1e9], dtype=torch.float64)
    weights = torch.randint(1, 4, (200,), generator=draws)
    weights[[3, 5]] = torch.tensor([2, 0])
    found, expected = (
        describe_rows(nlls, 3.0, weights=weights),
        describe_rows(nlls.repeat_interleave(weights), 3.0),
    )
    assert found["nll_median"] == expected["nll_median"]
    assert found["worst_rows"][0] == [4, 900.0]
    assert found["doubts"][0] == expected["doubts"][0]
    assert "1 of 199 rows dominates" in found["doubts"][2]


def test_a_missing_gaussian_is_explained():
    nlls = torch.linspace(0.0, 0.1, 100)
    assert describe_rows(nlls, 1.0)["doubts"] == []
    (doubt,) = describe_rows(nlls, math.inf)["doubts"]
    assert doubt.startswith("gaussian_nll is null: a Gaussian has no density there, as columns of the training rows")


def test_a_flow_as_good_as_a_gaussian_is_not_said_to_have_learned_nothing():
    nlls = torch.linspace(0.0, 2.0, 100, dtype=torch.float64)
    assert "a Gaussian: the flow is no better; use" in describe_rows(nlls, 0.98)["doubts"][0]
    assert "the flow has not learned the data" in describe_rows(nlls, 0.5)["doubts"][0]
