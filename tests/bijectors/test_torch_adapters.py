"""Adapters to torch.distributions keep tensors and parameters, and do not modify the user's objects."""

import copy

import pytest
import torch
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal, StudentT, Uniform, transforms

from flowlab import Flow
from flowlab.bijectors import AffineScalar, Exp, LowRankAffine, SmoothPReLU, Tanh, from_transform, to_transform

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


def test_sign_of_a_map_that_is_not_monotonic_raises():
    for bijector in (AffineScalar(scale=nn.Parameter(torch.tensor([1.0, -1.0]))), Tanh()):
        assert torch.as_tensor(to_transform(bijector).sign).all()
    unknown = AffineScalar(scale=2.0) | from_transform(transforms.StickBreakingTransform())
    with pytest.raises(NotImplementedError, match="neither increasing nor decreasing"):
        _ = to_transform(unknown).sign
