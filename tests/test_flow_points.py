"""Points that a flow accepts: shapes that fit its events, and arrays, frames, lists and integers."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.distributions import Dirichlet, Exponential, Independent, Normal, transforms
from torch.fx.experimental.proxy_tensor import make_fx

from flowlab import Flow, StandardNormal
from flowlab.bijectors import (
    AffineScalar,
    Chain,
    DiscreteCosineTransform,
    Exp,
    FillTriangular,
    LowRankAffine,
    Planar,
    Radial,
    SmoothPReLU,
    SoftmaxCentered,
    Tanh,
    from_transform,
)

SHIFT = torch.zeros(3)


def test_event_shape():
    assert Flow(Normal(0.0, 1.0), Exp()).event_shape == ()
    assert Flow(StandardNormal(3), Tanh()).event_shape == (3,)
    assert Flow(StandardNormal(3), SoftmaxCentered()).event_shape == (4,)
    assert Flow(StandardNormal(6), FillTriangular()).event_shape == (3, 3)
    assert Flow(Dirichlet(torch.ones(5, 3)), SoftmaxCentered().inv).event_shape == (2,)


@pytest.mark.parametrize(
    ("flow", "shape", "message"),
    [
        (Flow(StandardNormal(1), LowRankAffine(1)), (5,), r"Flow: points of shape \(5,\) .*\(1,\); .*x\[:, None\]"),
        (Flow(StandardNormal(1), Exp()), (4, 5), r"shape \(\*, 1\), such as x\[..., None\]"),
        (Flow(StandardNormal(2), AffineScalar(scale=2.0)), (5, 3), r"\(5, 3\) .* shape \(2,\); .* shape \(\*, 2\)$"),
        (Flow(StandardNormal(2), AffineScalar(scale=2.0)), (2, 5), "x.mT for points in columns"),
        (Flow(StandardNormal(2), Tanh()), (), r"shape \(\) .* shape \(2,\)"),
        (Flow(StandardNormal(6), FillTriangular()), (3, 2), r"\(3, 3\)"),
    ],
)
def test_points_of_wrong_shape_are_refused(flow, shape, message):
    points = torch.zeros(shape)
    calls = (flow.log_prob, flow.inverse_and_log_prob, flow.distribution().log_prob, flow.prepared().log_prob)
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call(points)


def test_shapes_are_checked_under_vmap_and_tracing():
    flow = Flow(StandardNormal(2), LowRankAffine(2))
    wrong = torch.zeros(5, 3)
    state = {name: torch.stack([value, value]) for name, value in flow.state_dict().items()}
    with pytest.raises(ValueError, match=r"shape \(\*, 2\)"):
        torch.vmap(flow.log_prob)(wrong)
    with pytest.raises(ValueError, match=r"shape \(\*, 2\)"):
        torch.vmap(lambda state: torch.func.functional_call(flow, state, wrong))(state)
    with pytest.raises(ValueError, match=r"shape \(\*, 2\)"):
        make_fx(lambda y: flow.log_prob(y))(wrong)


def test_shapes_of_base_points_are_checked():
    flow = Flow(StandardNormal(2), Tanh())
    with pytest.raises(ValueError, match=r"Flow.push_forward: points of shape \(5, 3\)"):
        flow.push_forward(torch.zeros(5, 3))
    with pytest.raises(ValueError, match=r"StandardNormal: points of shape \(2,\)"):
        StandardNormal(3).log_prob(torch.zeros(2))
    with pytest.raises(ValueError, match=r"Base: points of shape \(2,\)"):
        Flow(Independent(Normal(torch.zeros(3), torch.ones(3)), 1), Tanh()).base.log_prob(torch.zeros(2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Flow(StandardNormal(2), LowRankAffine(3)), r"base has events of shape \(2,\).*LowRankAffine.*\(3,\)"),
        (lambda: Flow(StandardNormal(1), Radial(3)), r"base has events of shape \(1,\).*Radial.*\(3,\)"),
        (lambda: Flow(StandardNormal(3), Planar(2).inv), r"base has events of shape \(3,\).*Planar.*\(2,\)"),
        (lambda: Flow(StandardNormal(1), AffineScalar(SHIFT)), r"base has events of shape \(1,\).*AffineScalar"),
        (lambda: Flow(StandardNormal(2), AffineScalar(SHIFT)), r"parameters of shape \(3,\) do not broadcast.*\(2,\)"),
        (lambda: Flow(StandardNormal(3), SoftmaxCentered() | LowRankAffine(3).inv), "Chain"),
        (lambda: Chain([LowRankAffine(2), Tanh(), LowRankAffine(3)]), "Tanh cannot follow LowRankAffine"),
        (lambda: Chain([AffineScalar(SHIFT), LowRankAffine(1)]), "LowRankAffine cannot follow AffineScalar"),
    ],
)
def test_a_bijector_that_does_not_fit_is_refused_at_construction(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("bijector", [LowRankAffine(3, scale="diag"), Planar(3), Radial(3), Planar(3).inv], ids=str)
def test_a_bijector_checks_events_of_a_fixed_size(bijector):
    for call in (bijector, bijector.inverse, bijector.forward_and_log_det, bijector.inverse_and_log_det):
        with pytest.raises(ValueError, match=r"points of shape \(5, 1\) do not hold events of shape \(3,\)"):
            call(torch.ones(5, 1))


@pytest.mark.parametrize(
    ("bijector", "shape", "message"),
    [
        (SmoothPReLU(size=3), (5, 2), r"SmoothPReLU: parameters of shape \(3,\) do not broadcast .* shape \(5, 2\)"),
        (AffineScalar(torch.ones(3)) | Tanh(), (2,), r"Chain: parameters of shape \(3,\) do not broadcast"),
        (DiscreteCosineTransform(), (), r"points of shape \(\) do not hold events of shape \(d,\); give .* \(\*, d\)"),
        (SoftmaxCentered(), (), r"points of shape \(\) do not hold events"),
        (FillTriangular().inv, (3,), r"points of shape \(3,\) do not hold events of shape \(d, d\)"),
        (from_transform(transforms.CorrCholeskyTransform()), (4,), r"points of shape \(4,\) do not fit"),
        (from_transform(transforms.ReshapeTransform((6,), (2, 3))), (5,), r"points of shape \(5,\) do not fit"),
    ],
)
def test_a_bijector_checks_the_shape_of_its_points(bijector, shape, message):
    for method in (bijector, bijector.forward_and_log_det):
        with pytest.raises(ValueError, match=message):
            method(torch.ones(shape))


def test_parts_whose_parameters_do_not_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"parameters of shapes \(3,\), \(2,\) do not broadcast"):
        Chain([AffineScalar(torch.ones(3)), SmoothPReLU(size=2)])


def test_a_batch_that_does_not_broadcast_is_refused():
    flow = Flow(Normal(torch.zeros(4, 3), 1.0), Exp())
    with pytest.raises(ValueError, match=r"points of batch \(5, 2\) do not broadcast against .* \(4, 3\)"):
        flow.log_prob(torch.ones(5, 2))
    assert flow.log_prob(torch.ones(5, 1, 1)).shape == flow.log_prob(torch.ones(5, 4, 3)).shape == (5, 4, 3)


def test_a_part_of_a_chain_is_a_chain():
    chain = Chain([AffineScalar(scale=2.0), Exp(), AffineScalar(shift=1.0)])
    assert chain[1:](torch.tensor(0.0)) == 2.0
    assert chain[-1](torch.tensor(0.0)) == 1.0


def test_chain_has_the_event_shape_of_its_parts():
    assert Chain([Tanh(), LowRankAffine(3)]).event_shape == (3,)
    assert Chain([FillTriangular(), FillTriangular().inv, LowRankAffine(6)]).event_shape == (6,)
    assert Chain([Tanh(), Exp()]).event_shape is None


@pytest.fixture(params=[torch.float32, torch.float64], ids=str)
def flow(request):
    return Flow(StandardNormal(2), LowRankAffine(2, 1) | Tanh() | Exp()).to(request.param)


ROWS = [[1.5, 0.5], [2.0, 1.0]]


@pytest.mark.parametrize(
    "kind",
    [
        lambda rows: rows,
        np.array,
        lambda rows: np.array(rows, dtype=np.float32),
        lambda rows: pd.DataFrame(rows, columns=["a", "b"]),
        lambda rows: pd.DataFrame(rows, columns=["a", "b"]).convert_dtypes(),
        lambda rows: pd.DataFrame(rows, columns=["a", "b"], dtype=object),
    ],
    ids=["lists", "float64", "float32", "frame", "nullable", "object"],
)
def test_points_may_be_lists_arrays_or_frames(flow, kind):
    expected = flow.log_prob(torch.tensor(ROWS, dtype=flow.anchor.dtype))
    points = kind(ROWS)
    for log_prob in (
        flow.log_prob(points),
        flow.inverse_and_log_prob(points)[1],
        flow.distribution().log_prob(points),
        flow.prepared().log_prob(points),
    ):
        assert log_prob.dtype == flow.anchor.dtype
        torch.testing.assert_close(log_prob, expected)


def test_a_read_only_array_is_copied(recwarn):
    points = np.ones((2, 2))
    points.setflags(write=False)
    Flow(StandardNormal(2), Exp()).log_prob(points)
    assert not recwarn.list


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.astype(">f8"),
        lambda x: x.astype(">f4"),
        lambda x: x[::-1][::-1],
        lambda x: x[::-1].copy()[::-1],
        lambda x: np.asfortranarray(x),
        lambda x: x.astype(np.longdouble),
        lambda x: np.ma.masked_array(x, False),
    ],
)
def test_arrays_of_every_layout_are_points(change):
    flow, x = Flow(StandardNormal(2), Exp()), np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert torch.equal(flow.log_prob(change(x)), flow.log_prob(x))


def test_masked_numbers_are_missing_and_complex_ones_are_refused():
    flow, x = Flow(StandardNormal(2), AffineScalar()), np.zeros((2, 2))
    assert flow.log_prob(np.ma.masked_array(x, [[True, False], [False, False]])).isinf().tolist() == [True, False]
    with pytest.raises(ValueError, match="its numbers are complex"):
        flow.log_prob(x + 1j)


def test_frame_without_numbers_is_refused():
    frame = pd.DataFrame({"a": [1.0], "name": ["x"]})
    with pytest.raises(ValueError, match=r"a DataFrame that does not hold numbers alone .*'x'.*select_dtypes"):
        Flow(StandardNormal(2), Exp()).log_prob(frame)


def test_integers_are_converted_to_the_dtype_of_the_flow():
    flow = Flow(StandardNormal(2), LowRankAffine(2) | Exp()).double()
    whole = torch.tensor([[1, 2], [3, 4]])
    for points in (whole, whole.numpy(), whole.tolist(), pd.DataFrame(whole.numpy())):
        assert torch.equal(flow.log_prob(points), flow.log_prob(whole.double()))
    scalar = Flow(Exponential(torch.tensor(1.0)), AffineScalar(scale=2.0)).distribution()
    assert scalar.cdf(torch.tensor(1)) == scalar.cdf(1.0) == scalar.cdf(np.array(1)) == scalar.cdf(torch.tensor(1.0))


@pytest.mark.parametrize("bijector", [Tanh(), Exp(), SoftmaxCentered(), AffineScalar(scale=2)], ids=str)
def test_bijectors_take_integers(bijector):
    whole = torch.tensor([0, 1, 2])
    for value, expected in zip(
        bijector.forward_and_log_det(whole), bijector.forward_and_log_det(whole.float()), strict=True
    ):
        assert value.dtype == torch.float32
        assert torch.equal(value, expected)


def test_a_tensor_keeps_its_dtype():
    flow = Flow(StandardNormal(2), Exp())
    assert flow.log_prob(torch.ones(3, 2, dtype=torch.float64)).dtype == torch.float64
    assert flow.log_prob(np.ones((3, 2))).dtype == torch.float32


@pytest.mark.parametrize("shape", [(0, 2), (3, 0, 2)])
def test_log_prob_of_an_empty_batch_is_empty(flow, shape):
    for points in (torch.zeros(shape), np.zeros(shape)):
        assert flow.log_prob(points).shape == shape[:-1]
        assert flow.prepared().log_prob(points).shape == shape[:-1]
    assert flow.sample((0,)).shape == (0, 2)


@pytest.mark.parametrize("count", [5, np.int64(5), torch.tensor(5), (5,), [5], torch.Size([5])])
def test_number_of_samples_may_be_of_any_kind(count):
    flow = Flow(StandardNormal(2), LowRankAffine(2, rank=1))
    assert flow.sample(count).shape == flow.rsample(count).shape == flow.distribution().sample(count).shape == (5, 2)
    with pytest.raises(TypeError, match=r"shape=5\.0: must be a number of samples, or a shape such as \(5, 2\)"):
        flow.sample(5.0)


def test_number_of_samples_is_a_shape():
    flow = Flow(StandardNormal(2), LowRankAffine(2))
    assert flow.sample(5).shape == flow.rsample_and_log_prob(5)[0].shape == (5, 2)
    assert flow.distribution().sample((5,)).shape == (5, 2)


@pytest.mark.parametrize("parts", [(LowRankAffine(2), StandardNormal(2)), (StandardNormal(2), torch.nn.Linear(2, 2))])
def test_parts_of_wrong_types_are_refused(parts):
    with pytest.raises(TypeError, match="Flow takes a base and a bijector, got "):
        Flow(*parts)


def test_negative_number_of_samples_is_refused():
    flow = Flow(StandardNormal(2), Exp())
    for shape in (-1, (3, -2), np.int64(-5)):
        with pytest.raises(ValueError, match=r"shape=.*: must not be negative; give a number of samples"):
            flow.sample(shape)
