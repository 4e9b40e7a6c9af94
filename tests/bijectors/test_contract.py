"""Methods that the base class derives, tested on every registered example.

`tests/conformance` tests the properties of each bijector itself.
"""

import pytest
import torch
from torch.distributions import Normal

from flowlab import Flow, StandardNormal
from flowlab.bijectors import (
    LU,
    ActNorm,
    Bijector,
    Chain,
    Exp,
    LowRankAffine,
    NoInverseError,
    Planar,
    Radial,
    from_transform,
    stages,
    to_transform,
)
from flowlab.bijectors.examples import DIM, EXAMPLES
from flowlab.testing.subject import Subject


@pytest.fixture(params=EXAMPLES, ids=str)
def example(request):
    return EXAMPLES[request.param]


def points(bijector: Bijector, dtype: torch.dtype) -> torch.Tensor:
    return Subject(bijector, dtype, DIM).many(16).x


def sum_up(log_det: torch.Tensor, bijector: Bijector) -> torch.Tensor:
    return log_det.sum(-1) if bijector.event_dim == 0 else log_det


def test_derived_log_dets_agree_with_fused_methods(example):
    bijector = example().double()
    x = points(bijector, torch.float64)
    y, log_det = bijector.forward_and_log_det(x)
    torch.testing.assert_close(bijector.forward_log_det_jacobian(x), log_det)
    # The event of an example has every dimension of x except the batch dimension.
    torch.testing.assert_close(bijector.forward_log_det_jacobian(x, event_ndims=x.ndim - 1), sum_up(log_det, bijector))
    torch.testing.assert_close(
        bijector.inverse_log_det_jacobian(y, event_ndims=y.ndim - 1), -sum_up(log_det, bijector), rtol=1e-7, atol=1e-7
    )
    if bijector.event_dim:
        with pytest.raises(ValueError, match=f"event_ndims={x.ndim - 2}"):
            bijector.forward_log_det_jacobian(x, event_ndims=x.ndim - 2)
        with pytest.raises(ValueError, match=f"event_ndims={y.ndim - 2}.* last {y.ndim - 1} "):
            bijector.inverse_log_det_jacobian(y, event_ndims=y.ndim - 2)


def test_torch_transform_agrees_with_bijector(example):
    bijector = example().double()
    transform = to_transform(bijector)
    x = points(bijector, torch.float64)
    y, log_det = bijector.forward_and_log_det(x)
    assert transform.forward_shape(x.shape) == y.shape
    assert transform.inverse_shape(y.shape) == x.shape
    torch.testing.assert_close(transform(x), y)
    torch.testing.assert_close(transform.log_abs_det_jacobian(x, y), log_det)
    assert transform.codomain.event_dim == bijector.image_event_dim or not bijector.event_dim
    back = from_transform(transform)
    assert (back.event_dim, back.image_event_dim) == (bijector.event_dim, bijector.image_event_dim)
    torch.testing.assert_close(back.inverse_and_log_det(y)[1], bijector.inverse_and_log_det(y)[1])


def test_inverse_of_the_inverse_is_the_same_map(example):
    bijector = example().double()
    x = points(bijector, torch.float64)
    y = bijector(x)
    torch.testing.assert_close(bijector.inv(y), x, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(bijector.inv.inv(x), y)
    assert {id(p) for p in bijector.inv.parameters()} == {id(p) for p in bijector.parameters()}


def test_repr_summary_and_html(example):
    bijector = example()
    assert type(bijector).__name__ in repr(bijector)
    summary = bijector.summary()
    assert len(summary) == len(stages(bijector))
    assert summary["trainable"].sum() == sum(p.numel() for p in bijector.parameters())
    assert "<table" in bijector._repr_html_()


def test_bijector_without_inverse_raises_no_inverse_error():
    class OneWay(Bijector):
        has_inverse = False

        def forward_and_log_det(self, x, context=None):
            return x, torch.zeros_like(x)

    with pytest.raises(NoInverseError, match="OneWay"):
        OneWay().inverse(torch.zeros(2))
    with pytest.raises(NoInverseError, match="OneWay"):
        _ = OneWay().inv
    assert not Chain([OneWay()]).has_inverse


class OneWayFast(Bijector):
    """Declare a slow inverse, as an autoregressive map does."""

    event_dim = 1
    inverse_passes = 5

    def forward_and_log_det(self, x, context=None):
        return x, x.new_zeros(x.shape[:-1])

    inverse_and_log_det = forward_and_log_det


def test_summary_shows_passes_of_slow_direction():
    assert not {"forward_passes", "inverse_passes"} & set(Exp().summary().columns)
    table = Chain([OneWayFast(), Exp(), OneWayFast().inv]).summary()
    assert list(table["name"]) == ["OneWayFast", "Exp", "inverse of OneWayFast"]
    assert list(table["forward_passes"]) == [1, 1, 5]
    assert list(table["inverse_passes"]) == [5, 1, 1]
    assert Chain([OneWayFast(), Exp()]).inverse_passes == 5


def test_forward_shape_follows_parameter_shape(example):
    bijector = example()
    x = points(bijector, torch.float32)
    y = bijector(x)
    assert bijector.forward_shape(x.shape) == y.shape
    if bijector.parameter_shape is not None:
        assert bijector.forward_shape(torch.Size()) == bijector(torch.tensor(0.3)).shape == bijector.parameter_shape
        assert bijector.inverse_shape(torch.Size()) == bijector.parameter_shape
    if bijector.event_shape is not None:
        assert bijector.event_shape == x.shape[1:]
        assert bijector.image_event_shape in (None, y.shape[1:])


def test_class_without_fused_methods_is_refused():
    with pytest.raises(TypeError, match="Doubled: define forward_and_log_det and inverse_and_log_det"):

        class Doubled(Bijector):
            def forward(self, x, context=None):
                return 2 * x


class Shift(Bijector):
    """y = x + offsets, without a declared parameter_shape."""

    def __init__(self):
        super().__init__()
        self.offsets = torch.nn.Parameter(torch.arange(3.0))

    def forward_and_log_det(self, x, context=None):
        y = x + self.offsets
        return y, torch.zeros_like(y)

    def inverse_and_log_det(self, y, context=None):
        x = y - self.offsets
        return x, torch.zeros_like(x)


@pytest.mark.parametrize("make", [Shift, lambda: Shift().inv, lambda: Shift() | Exp()])
@pytest.mark.parametrize("size", [(), (1,), (3,), (2, 1)])
def test_undeclared_parameters_are_part_of_the_batch(make, size):
    """Each coordinate has noise of its own."""
    flow = Flow(Normal(torch.zeros(size), 1.0), make())
    assert flow.batch_shape() == torch.broadcast_shapes(size, (3,))
    samples = flow.sample((500,))
    assert samples.shape == flow.log_prob(samples).shape == (500, *flow.batch_shape())
    assert torch.corrcoef(samples.reshape(500, -1).T).triu(1).abs().max() < 0.3


def test_undeclared_parameters_that_do_not_fit_the_base_are_refused():
    with pytest.raises(ValueError, match=r"Flow: .*Shift: parameters of shape \(3,\) do not broadcast .* \(2,\)"):
        Flow(StandardNormal(2), Shift())
    with pytest.raises(ValueError, match=r"Flow: the base has events of shape \(1,\), .*Shift"):
        Flow(StandardNormal(1), Shift())


@pytest.mark.parametrize("make", [ActNorm, LU, Planar, Radial, LowRankAffine])
def test_vector_has_at_least_one_coordinate(make):
    with pytest.raises(ValueError, match=f"{make.__name__}: dim=0 must be at least 1"):
        make(0)
