"""Adapters to torch.distributions keep tensors and parameters, and do not modify the user's objects."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn
from torch.distributions import (
    Independent,
    MultivariateNormal,
    Normal,
    StudentT,
    TransformedDistribution,
    Uniform,
    constraints,
    kl_divergence,
    transforms,
)

from flowlab import Flow, StandardNormal
from flowlab.bijectors import AffineScalar, Exp, LowRankAffine, Sigmoid, SmoothPReLU, Tanh, from_transform, to_transform

EXPANDED = {
    "Normal": lambda: Flow(Normal(torch.zeros(3), 1.0), Exp()),
    "Uniform": lambda: Flow(Uniform(torch.zeros(3), 1.0), Exp()),
    "StudentT": lambda: Flow(StudentT(torch.tensor(3.0), torch.zeros(3)), Exp()),
    "batched": lambda: Flow(MultivariateNormal(torch.zeros(4, 2), torch.eye(2)), Exp()),
    "expand": lambda: Flow(Independent(Normal(0.0, 1.0).expand((3,)), 1), Exp()),
    "AffineScalar": lambda: Flow(Normal(0.0, 1.0), AffineScalar(scale=torch.tensor(2.0).expand(3))),
    "SmoothPReLU": lambda: Flow(Normal(0.0, 1.0), SmoothPReLU(smoothness=torch.tensor(2.0).expand(3))),
    "PowerTransform": lambda: Flow(
        Normal(0.0, 1.0), Exp() | from_transform(transforms.PowerTransform(torch.tensor(2.0).expand(3)))
    ),
}


@pytest.mark.parametrize("name", EXPANDED)
def test_expanded_tensors_are_saved_and_loaded(name):
    flow, other = EXPANDED[name](), EXPANDED[name]()
    for buffer in other.buffers():
        if buffer.numel():
            buffer.add_(0.5)
    flow.load_state_dict(other.state_dict())
    for mine, theirs in zip(flow.buffers(), other.buffers(), strict=True):
        assert torch.equal(mine, theirs)


def test_constants_are_detached_from_the_graph():
    weight = torch.tensor(0.5, requires_grad=True)
    bijector = AffineScalar(scale=weight.exp())
    assert not bijector.scale.requires_grad
    copy.deepcopy(Flow(Normal(weight.exp(), 1.0), bijector))


def test_users_transform_is_not_modified():
    transform = transforms.AffineTransform(torch.tensor(1.0), torch.tensor(2.0))
    before = dict(vars(transform))
    bijector = from_transform(transform).double()
    bijector(torch.tensor(1.0, dtype=torch.float64))
    assert vars(transform) == before
    assert transform.sign == 1
    power = transforms.PowerTransform(torch.tensor(2.0))
    from_transform(power)(torch.tensor(3.0))
    assert power.sign == 1


def test_index_tensors_keep_their_dtype():
    class Permute(transforms.Transform):
        domain = codomain = torch.distributions.constraints.real_vector
        bijective = True

        def __init__(self, order):
            super().__init__()
            self.order = order

        def _call(self, x):
            return x[..., self.order]

        def _inverse(self, y):
            return y[..., self.order.argsort()]

        def log_abs_det_jacobian(self, x, y):
            return x.new_zeros(x.shape[:-1])

    bijector = from_transform(Permute(torch.tensor([2, 0, 1]))).double()
    x = torch.randn(4, 3, dtype=torch.float64)
    assert torch.equal(bijector(x), x[:, [2, 0, 1]])
    assert torch.equal(bijector.inverse(bijector(x)), x)


def test_round_trip_through_transform_keeps_parameters():
    affine = LowRankAffine(2)
    assert from_transform(to_transform(affine)) is affine
    chain = from_transform(transforms.ComposeTransform([to_transform(affine), transforms.ExpTransform()]))
    assert list(chain.parameters()) == list(affine.parameters())


@pytest.mark.parametrize(
    "make",
    [
        lambda: from_transform(transforms.IndependentTransform(transforms.ExpTransform().inv, 1)),
        lambda: from_transform(transforms.IndependentTransform(to_transform(LowRankAffine(3)).inv, 1)),
        lambda: from_transform(transforms.ExpTransform().inv),
    ],
)
def test_an_inverse_inside_a_transform_is_copied(make):
    bijector, x = make(), torch.rand(4, 3) + 0.5
    for copied in (copy.deepcopy(bijector), pickle.loads(pickle.dumps(bijector))):
        torch.testing.assert_close(copied(x), bijector(x))
        assert len(list(copied.parameters())) == len(list(bijector.parameters()))


def test_transforms_of_one_bijector_are_equal():
    exp = Exp()
    assert to_transform(exp) == to_transform(exp) != to_transform(Exp())
    assert pickle.loads(pickle.dumps(to_transform(exp).inv))(torch.ones(2)).tolist() == [0.0, 0.0]
    first, second = (TransformedDistribution(Normal(mean, 1.0), to_transform(exp)) for mean in (0.0, 1.0))
    assert kl_divergence(first, second) == 0.5


def test_parameters_of_a_bijector_inside_a_transform_are_learned():
    affine = LowRankAffine(2)
    wrapped = from_transform(transforms.IndependentTransform(to_transform(affine), 1)).double()
    assert set(wrapped.parameters()) == set(affine.parameters())
    assert wrapped(torch.ones(3, 2, 2, dtype=torch.float64)).dtype == torch.float64


def test_a_tensor_computed_from_a_parameter_is_refused():
    with pytest.raises(ValueError, match=r"AffineTransform: scale was computed from an nn.Parameter"):
        from_transform(transforms.AffineTransform(0.0, nn.Parameter(torch.ones(2)).exp()))


def test_sign_of_a_map_that_is_not_monotonic_raises():
    for bijector in (AffineScalar(scale=nn.Parameter(torch.tensor([1.0, -1.0]))), Tanh()):
        assert torch.as_tensor(to_transform(bijector).sign).all()
    unknown = AffineScalar(scale=2.0) | from_transform(transforms.StickBreakingTransform())
    with pytest.raises(NotImplementedError, match="neither increasing nor decreasing"):
        _ = to_transform(unknown).sign


SIGMOID_AND_AFFINE = [transforms.SigmoidTransform(), transforms.AffineTransform(1.0, -2.0)]


@pytest.mark.parametrize("kind", [transforms.CatTransform, transforms.StackTransform])
@pytest.mark.parametrize("dim", [-1, -2])
def test_joined_transforms_agree_with_their_parts(kind, dim):
    bijector = from_transform(kind(SIGMOID_AND_AFFINE, dim=dim))
    x = torch.randn(5, 3, 2) if dim == -1 else torch.randn(5, 2, 3)
    y, log_det = bijector.forward_and_log_det(x)
    first, second = x.unbind(dim)
    torch.testing.assert_close(y, torch.stack([first.sigmoid(), 1 - 2 * second], dim))
    expected = torch.stack([Sigmoid().forward_and_log_det(first)[1], torch.full_like(second, math.log(2))], dim)
    torch.testing.assert_close(log_det, expected.sum(-1) if dim == -1 else expected.sum((-2, -1)))
    back, inverse_log_det = bijector.inverse_and_log_det(y)
    torch.testing.assert_close((back, inverse_log_det), (x, -log_det))
    flow = Flow(Independent(Normal(torch.zeros(x.shape[1:]), 1.0), 2), bijector)
    samples = flow.sample((4,))
    assert flow.log_prob(samples).isfinite().all()
    assert flow.log_prob(samples).shape == (4,)
    outside = samples.clone()
    outside.select(dim, 0)[0] += 1
    assert flow.log_prob(outside).isinf().tolist() == [True, False, False, False]


def test_joined_transforms_that_torch_gets_wrong_are_refused():
    for kind in (transforms.CatTransform, transforms.StackTransform):
        with pytest.raises(ValueError, match=r"dim=0 counts from the left.*dim=-1"):
            from_transform(kind(SIGMOID_AND_AFFINE))
        with pytest.raises(ValueError, match=r"StickBreakingTransform is not elementwise"):
            from_transform(kind([transforms.StickBreakingTransform()] * 2, dim=-2))
    lengths = from_transform(transforms.CatTransform(SIGMOID_AND_AFFINE, dim=-1, lengths=[1, 2]))
    with pytest.raises(ValueError, match=r"do not have 3 numbers along dim=-1"):
        Flow(StandardNormal(4), lengths)
    logarithm = from_transform(transforms.CatTransform([transforms.ExpTransform().inv, SIGMOID_AND_AFFINE[1]], dim=-1))
    with pytest.raises(ValueError, match=r"CatTransform maps .* but the base lies on all numbers"):
        Flow(StandardNormal(2), logarithm)


def test_affine_transform_of_vectors_is_affine():
    affine = transforms.IndependentTransform(transforms.AffineTransform(1.0, 2.0), 1)
    distribution = Flow(StandardNormal(3), from_transform(affine)).distribution()
    assert distribution.mean.tolist() == [1.0] * 3
    torch.testing.assert_close(distribution.entropy(), 3 * Normal(0.0, 2.0).entropy())


class LearnedShift(transforms.Transform, nn.Module):
    """A transform that is a module as well, as in other libraries."""

    domain = codomain = constraints.real
    bijective, sign = True, +1

    def __init__(self):
        nn.Module.__init__(self)
        transforms.Transform.__init__(self)
        self.shift = nn.Parameter(torch.tensor(1.0))

    def __hash__(self):
        return nn.Module.__hash__(self)

    def _call(self, x):
        return x + self.shift

    def _inverse(self, y):
        return y - self.shift

    def log_abs_det_jacobian(self, x, y):
        return torch.zeros_like(x)


@pytest.mark.parametrize("wrap", [lambda each: each, lambda each: transforms.IndependentTransform(each, 1)])
def test_a_transform_that_is_a_module_is_learned(wrap):
    shift = LearnedShift()
    bijector = from_transform(wrap(shift))
    assert list(bijector.parameters()) == [shift.shift]
    assert bijector.double()(torch.zeros(2, dtype=torch.float64)).dtype == torch.float64
