"""The rows behind an NLL: its median, the worst rows, and reasons to doubt it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

WORST = 5  # rows with the highest NLL that a result names
LARGE_ERROR, LARGE_SHIFT = 0.5, 0.5  # nats: of a standard error, and of the part of an NLL that the worst rows make
LITTLE = 0.1  # nats: above a Gaussian's NLL, where the data may be Gaussian


def describe_rows(
    nlls: Tensor, baseline: float, numbers: Tensor | None = None, weights: Tensor | None = None
) -> dict[str, Any]:
    """Describe how the NLL of a test consists of the NLLs of its rows, and the reasons to doubt it.

    Arguments:
        nlls: the NLL of each row in nats, of shape (n,).
        baseline: the NLL of a Gaussian.
        numbers: the numbers of the rows in the data; None counts the rows of the test from 1.
        weights: the weights of the rows, of shape (n,); a row of weight 0 does not count.

    Returns:
        nll_median; worst_rows, the number and the NLL of the WORST rows with the highest NLL; and doubts, in words.
    """
    import torch

    numbers = torch.arange(1, len(nlls) + 1) if numbers is None else numbers
    counts = torch.ones_like(nlls) if weights is None else weights.to(nlls)
    shares = counts / counts.sum()
    counted = shares > 0
    nlls, shares, numbers = nlls[counted], shares[counted], numbers.to(nlls.device)[counted]
    ordered = nlls.argsort()
    median = float(nlls[ordered][(shares[ordered].cumsum(0) < 0.5 - 1e-9).sum()])
    mean = float(shares @ nlls)
    error = float((shares * (nlls - mean)).norm())
    worst, places = nlls.topk(min(WORST, len(nlls)))
    rows = numbers[places].tolist()
    doubts = []
    if baseline == math.inf:
        doubts.append(
            "gaussian_nll is null: a Gaussian has no density there, as columns of the training rows determine others "
            "up to rounding; leave one of them out"
        )
    if mean > baseline:
        verdict = "has not learned the data" if mean > baseline + LITTLE else "is no better"
        doubts.append(
            f"nll={mean:.4g} is above gaussian_nll={baseline:.4g}, the NLL of a Gaussian: the flow {verdict}; use a "
            "lower optimizer.lr, more max_steps, or target.robust=true"
        )
    if error > LARGE_ERROR:
        doubts.append(
            f"nll={mean:.4g} has a standard error of {error:.2g} nats, so it says little; the median of the rows is "
            f"{median:.4g}; use more test rows"
        )
    taken = [shares[places[:count]] for count in range(len(worst) + 1)]
    without = [(mean - float(each @ worst[: len(each)])) / (1 - float(each.sum()) or 1) for each in taken]
    if len(nlls) > 10 * WORST and mean - without[-1] > LARGE_SHIFT:
        few = next(count for count, rest in enumerate(without) if rest - without[-1] <= LARGE_SHIFT / 5)
        dominate, them = ("dominates", "it") if few == 1 else ("dominate", "them")
        doubts.append(
            f"{few} of {len(nlls)} rows {dominate} nll={mean:.4g}: without {them} it is {without[few]:.4g}, and the "
            f"median of the rows is {median:.4g}; the worst is row {rows[0]}, with {worst[0]:.4g} nats; remove rows "
            "that are wrong (worst_rows in result.json), or use target.robust=true or a lower optimizer.lr"
        )
    pairs = [[row, nll] for row, nll in zip(rows, worst.tolist(), strict=True)]
    return {"nll_median": median, "worst_rows": pairs, "doubts": doubts}
