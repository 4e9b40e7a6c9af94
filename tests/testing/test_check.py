"""`flowlab.testing` passes a correct bijector and names the failing property of a wrong one."""

import importlib
import math
import re
import sys

import pytest
import torch
from torch import nn
from torch.distributions import constraints

from flowlab.bijectors import Bijector, Exp, LowRankAffine
from flowlab.testing import PROPERTIES, check_bijector
from flowlab.testing.property import NotApplicable, close, need


class Scale(Bijector):
    """y = exp(log_scale) x: a correct user's bijector, and the base class of the wrong ones."""

    event_dim = 1
    domain = codomain = constraints.real_vector
    constant_log_det = affine = True

    def __init__(self, dim=3, scale=0.0):
        super().__init__()
        if not math.isfinite(scale):
            raise ValueError(f"Scale: scale={scale!r} must be finite")
        self.log_scale = nn.Parameter(torch.full((dim,), scale))

    def forward_and_log_det(self, x, context=None):
        return x * self.log_scale.exp(), self.log_scale.sum().expand(x.shape[:-1])

    def inverse_and_log_det(self, y, context=None):
        return y * (-self.log_scale).exp(), (-self.log_scale.sum()).expand(y.shape[:-1])


def names_of_failing_properties(bijector, **known):
    report = check_bijector(bijector, dtypes=[torch.float64], **known)
    return {finding.name for finding in report.failures}


def test_correct_bijector_passes():
    invalid = {"scale=nan": lambda: Scale(scale=math.nan)}
    report = check_bijector(Scale(), initial=lambda x: x, invalid=invalid)
    assert report
    assert all(finding.holds for finding in report.findings), "a property fails or does not apply"
    assert len(report.findings) == 2 * len(PROPERTIES)
    report.require()
    assert f"holds: {2 * len(PROPERTIES)} of {2 * len(PROPERTIES)}" in str(report)
    assert report._repr_html_().startswith("<pre>Scale(")


def test_check_does_not_change_the_bijector():
    bijector = Scale(scale=0.5)
    check_bijector(bijector, dtypes=[torch.float64])
    assert bijector.log_scale.dtype == torch.float32
    assert bijector.log_scale.tolist() == [0.5, 0.5, 0.5]
    assert bijector.log_scale.grad is None


class ForgottenLogDet(Scale):
    def inverse_and_log_det(self, y, context=None):
        return super().inverse_and_log_det(y)[0], y.new_zeros(y.shape[:-1])


class WrongSign(Scale):
    def inverse_and_log_det(self, y, context=None):
        x, log_det = super().inverse_and_log_det(y)
        return x, -log_det


class MeanOfTheBatch(Scale):
    def forward_and_log_det(self, x, context=None):
        y, log_det = super().forward_and_log_det(x)
        return y + x.mean(0, keepdim=True) * 0.1 if x.ndim > 1 else y, log_det


class FixedType(Scale):
    def forward_and_log_det(self, x, context=None):
        y, log_det = super().forward_and_log_det(x)
        return y.float(), log_det


class HiddenState(Scale):
    """The inverse returns the last x, whatever y is."""

    def forward_and_log_det(self, x, context=None):
        self.last = x
        return super().forward_and_log_det(x)

    def inverse_and_log_det(self, y, context=None):
        return self.last, super().inverse_and_log_det(y)[1]


class DetachedLogDet(Scale):
    """Training treats the log det as a constant."""

    def forward_and_log_det(self, x, context=None):
        y, log_det = super().forward_and_log_det(x)
        return y, log_det.detach()


class NegatedGradient(Scale):
    def inverse_and_log_det(self, y, context=None):
        x, log_det = super().inverse_and_log_det(y)
        return x, 2 * log_det.detach() - log_det


class Tails(Bijector):
    """Steeper where |x| > 3, but the log det ignores it."""

    def forward_and_log_det(self, x, context=None):
        return torch.where(x.abs() > 3, 2 * x - 3 * x.sign(), x), torch.zeros_like(x)

    def inverse_and_log_det(self, y, context=None):
        return torch.where(y.abs() > 3, 0.5 * (y + 3 * y.sign()), y), torch.zeros_like(y)


class MirroredInverse(Exp):
    """The declared codomain is the real line and a negative y has a pre-image, so the mass is 2."""

    codomain = constraints.real

    def inverse_and_log_det(self, y, context=None):
        return super().inverse_and_log_det(y.abs())


class AssumesContiguous(Scale):
    """The map ignores the strides of its points."""

    def forward_and_log_det(self, x, context=None):
        return super().forward_and_log_det(x.as_strided(x.shape, x.new_empty(x.shape).stride()))


@pytest.mark.parametrize(
    ("wrong", "properties"),
    [
        (ForgottenLogDet, {"log det", "cancel"}),
        (WrongSign, {"log det", "cancel"}),
        (MeanOfTheBatch, {"round trip", "independent"}),
        (FixedType, {"types"}),
        (HiddenState, {"round trip"}),
        (DetachedLogDet, {"gradients"}),
        (NegatedGradient, {"gradients"}),
        (AssumesContiguous, {"shapes"}),
    ],
)
def test_failing_property_of_a_wrong_bijector_is_named(wrong, properties):
    assert properties <= names_of_failing_properties(wrong(scale=0.3))


def test_errors_far_from_the_drawn_points_are_found():
    assert names_of_failing_properties(Tails()) == {"log det"}
    assert names_of_failing_properties(MirroredInverse()) == {"round trip"}


def test_correct_bijector_passes_in_many_dimensions():
    affine = LowRankAffine(12, rank=2, factor_scale=0.3, generator=torch.Generator().manual_seed(0))
    report = check_bijector(affine, dim=12, dtypes=[torch.float64])
    assert report
    assert "in 12 dimensions too few" in str(report)


def test_a_frozen_parameter_needs_no_gradient():
    assert check_bijector(Scale(scale=0.3).requires_grad_(False), dtypes=[torch.float64])


def test_a_failure_shows_an_example():
    report = check_bijector(WrongSign(scale=0.3), dtypes=[torch.float64])
    assert not report
    with pytest.raises(
        AssertionError, match=r"log det +FAILS(.|\n)*log det of f\^-1: 0.9\d* where -0.9\d* is expected"
    ):
        report.require()
    assert "x=tensor([[0., 0., 0.]]" in str(report)


def test_a_wrong_initialization_and_a_missing_error_are_found():
    assert names_of_failing_properties(Scale(scale=0.3), initial=lambda x: x) == {"initial"}
    assert names_of_failing_properties(Scale(), invalid={"dim=0": lambda: Scale(dim=0)}) == {"refused"}
    assert names_of_failing_properties(Scale(), invalid={"beginning=inf": lambda: Scale(scale=math.inf)}) == {"refused"}


def test_a_stated_interval_that_is_too_wide_or_too_narrow_is_found():
    class TooWide(Exp):
        def invertible(self, dtype):
            return -800.0, 709.0

    class TooNarrow(Exp):
        def invertible(self, dtype):
            return -10.0, 10.0

    assert names_of_failing_properties(TooWide()) == names_of_failing_properties(TooNarrow()) == {"edges"}


def test_without_an_inverse_the_other_properties_are_checked():
    class OneWay(Scale):
        has_inverse = False

    report = check_bijector(OneWay(), dtypes=[torch.float64])
    assert report
    left = {finding.name for finding in report.findings if finding.holds is None}
    assert left == {"round trip", "cancel", "mass", "edges", "initial", "refused", "support"}


def test_property_that_does_not_apply_gives_its_reason():
    with pytest.raises(NotApplicable, match="no inverse"):
        need(False, "it has no inverse")


def test_nan_is_not_close_to_any_number():
    nan, one = torch.tensor([math.nan]), torch.ones(1)
    for value, expected in ((nan, one), (one, nan), (nan, nan)):
        with pytest.raises(AssertionError, match="the value: .* is expected"):
            close("the value", value, expected, 1e-3)
    close("where any number passes", nan, one, math.inf)


def test_missing_hypothesis_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    for name in [name for name in sys.modules if name.startswith("flowlab.testing")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ModuleNotFoundError, match=re.escape("run pip install '.[testing]' in a clone of flowlab")):
        importlib.import_module("flowlab.testing")
