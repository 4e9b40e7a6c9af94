"""torch distributions as bases: nested transforms and modules, copies, parameters, mixtures, empty batches."""

import copy
import io
import math
import pickle

import pytest
import torch
from torch import nn
from torch.distributions import (
    Categorical,
    Dirichlet,
    Exponential,
    Gamma,
    Gumbel,
    HalfNormal,
    Independent,
    Laplace,
    LowRankMultivariateNormal,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    Pareto,
    TransformedDistribution,
    Uniform,
    VonMises,
    Weibull,
)
from torch.distributions.transforms import AffineTransform, ExpTransform, IndependentTransform, SigmoidTransform
from torch.optim.swa_utils import AveragedModel

from flowlab import Flow, StandardNormal
from flowlab.bijectors import AffineScalar, Chain, Exp, LowRankAffine, SmoothPReLU, to_transform


def transformed(base, *parts):
    return TransformedDistribution(base, list(parts))


def ones(*shape):
    return torch.ones(*shape)


# Everything that torch expands, forgets in a pickle, caches, or does not know as a module.
BASES = {
    "broadcast": lambda: Normal(torch.zeros(3, 1), ones(4)),
    "precision": lambda: MultivariateNormal(torch.zeros(4, 2), precision_matrix=torch.eye(2)),
    "Gumbel": lambda: Gumbel(torch.zeros(2), 1.0),
    "expanded Gumbel": lambda: Gumbel(0.0, 1.0).expand((3,)),
    "Weibull": lambda: Weibull(ones(2), 1.0),
    "inverse": lambda: transformed(Exponential(ones(2)), ExpTransform().inv),
    "several": lambda: transformed(Uniform(torch.zeros(2), 1.0), SigmoidTransform().inv, AffineTransform(ones(2), 2.0)),
    "inverse with tensors": lambda: transformed(
        Normal(torch.zeros(2), 1.0), AffineTransform(ones(()), ones(2) * 2).inv
    ),
    "independent inverse": lambda: transformed(
        Independent(Exponential(ones(2)), 1), IndependentTransform(ExpTransform().inv, 1)
    ),
    "inverse bijector": lambda: transformed(Exponential(ones(2)), to_transform(Exp()).inv),
    "nested": lambda: transformed(
        transformed(Normal(torch.zeros(2), 1.0), to_transform(AffineScalar(scale=3.0)).inv), ExpTransform(cache_size=1)
    ),
    "mixture": lambda: MixtureSameFamily(Categorical(ones(3)), Independent(Normal(torch.zeros(3, 2), 1.0), 1)),
    "another flow": lambda: Flow(StandardNormal(2), LowRankAffine(2, 1)).distribution(),
    "part of another flow": lambda: Independent(Flow(Normal(torch.zeros(2), 1.0), SmoothPReLU()).distribution(), 1),
    "sampled": lambda: sampled(VonMises(torch.zeros(2), ones(2))),
}


def sampled(distribution):
    distribution.sample()
    return distribution


@pytest.mark.parametrize("name", BASES)
def test_a_base_is_copied_saved_loaded_and_moved(name):
    flow = Flow(BASES[name](), AffineScalar(scale=2.0))
    other = Flow(BASES[name](), AffineScalar(scale=2.0))
    other.load_state_dict(flow.state_dict())
    file = io.BytesIO()
    torch.save(flow, file)
    file.seek(0)
    copies = [
        other,
        copy.deepcopy(flow),
        pickle.loads(pickle.dumps(flow)),
        torch.load(file, weights_only=False),
        AveragedModel(flow).module,
        copy.deepcopy(flow).double().float(),
    ]
    y = flow.sample((5,))
    expected = flow.log_prob(y)
    for each in copies:
        torch.testing.assert_close(each.log_prob(y), expected)
    exact = copy.deepcopy(flow).double()
    assert exact.sample((2,)).dtype == exact.log_prob(y.double()).dtype == torch.float64
    torch.testing.assert_close(exact.log_prob(y.double()).float(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda inner: Flow(StandardNormal(2), inner).distribution(),
        lambda inner: transformed(StandardNormal(2).distribution(), to_transform(inner)),
        lambda inner: transformed(StandardNormal(2).distribution(), to_transform(inner.inv).inv),
    ],
)
def test_parameters_of_a_module_inside_a_base_are_learned(make):
    inner = LowRankAffine(2, 1)
    flow = Flow(make(inner), Chain([]))
    assert set(flow.parameters()) == set(inner.parameters())
    flow.log_prob(torch.ones(3, 2)).sum().backward()
    assert inner.shift.grad.abs().sum() > 0


# torch keeps some parameters as they are, and computes tensors from the others.
LEARNED = {
    "Normal": lambda p: Normal(p, 1.0),
    "Gumbel": lambda p: Gumbel(p, 1.0),
    "HalfNormal": HalfNormal,
    "Dirichlet": Dirichlet,
    "components": lambda p: MixtureSameFamily(Categorical(ones(2)), Normal(p, 1.0)),
    "transform": lambda p: transformed(Normal(torch.zeros(2), 1.0), AffineTransform(p, 2.0)),
}
REFUSED = {
    "function": lambda p: Normal(torch.zeros(2), p.exp()),
    "view": lambda p: Normal(p[:1], 1.0),
    "scale of Gumbel": lambda p: Gumbel(torch.zeros(2), p),
    "Weibull": lambda p: Weibull(ones(2), p),
    "mean": lambda p: MultivariateNormal(p, torch.eye(2)),
    "low rank": lambda p: LowRankMultivariateNormal(torch.zeros(2), p[:, None], ones(2)),
    "weights": lambda p: MixtureSameFamily(Categorical(logits=p), Normal(torch.zeros(2), 1.0)),
}


@pytest.mark.parametrize("name", LEARNED)
def test_a_parameter_that_a_distribution_keeps_is_learned(name):
    parameter = nn.Parameter(torch.tensor([1.5, 2.5]))
    distribution = LEARNED[name](parameter)
    flow = Flow(distribution, Chain([]))
    assert list(flow.parameters()) == [parameter]
    y = distribution.sample((7,))
    (expected,) = torch.autograd.grad(distribution.log_prob(y).sum(), parameter)
    torch.testing.assert_close(torch.autograd.grad(flow.log_prob(y).sum(), parameter)[0], expected)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("gradients", [True, False])
def test_a_parameter_that_a_distribution_does_not_keep_is_refused(name, gradients):
    with torch.set_grad_enabled(gradients or name not in ("view", "mean")):
        distribution = REFUSED[name](nn.Parameter(torch.tensor([1.5, 2.5])))
    with pytest.raises(ValueError, match=r"was computed from an nn.Parameter.*by \.detach\(\), and learn a bijector"):
        Flow(distribution, Chain([]))


def test_base_with_inverse_transforms():
    """torch builds Gumbel from two logarithms, each the inverse of an exponential map."""
    base = Gumbel(torch.tensor(0.5), torch.tensor(2.0))
    flow = Flow(base, AffineScalar(scale=3.0)).double()
    y = torch.tensor([-4.0, 0.0, 7.0], dtype=torch.float64)
    torch.testing.assert_close(flow.log_prob(y).float(), base.log_prob(y.float() / 3) - math.log(3))
    assert flow.sample((4,)).dtype == torch.float64


def test_results_cached_later_do_not_change_the_base():
    distribution = VonMises(torch.tensor(0.0), torch.tensor(1.0))
    flow = Flow(distribution, AffineScalar())
    before = flow.log_prob(torch.tensor(0.3))
    distribution.sample()  # caches a tensor
    assert flow.log_prob(torch.tensor(0.3)) == before


@pytest.mark.parametrize("shape", [(0,), (2, 0)])
def test_log_prob_of_an_empty_batch_is_empty(shape):
    for distribution in (Independent(Laplace(torch.zeros(3), torch.ones(3)), 1), Dirichlet(torch.ones(3))):
        assert Flow(distribution, Chain([])).log_prob(torch.zeros(*shape, 3)).shape == shape


def test_components_of_a_mixture_may_have_different_supports():
    modes = Categorical(ones(2))
    y = torch.tensor([-1.0, 0.5, 1.5, 3.0])
    uniform = Flow(MixtureSameFamily(modes, Uniform(torch.zeros(2), torch.tensor([1.0, 2.0]))), Chain([]))
    torch.testing.assert_close(uniform.log_prob(y).exp(), torch.tensor([0.0, 0.75, 0.25, 0.0]))
    pareto = Flow(MixtureSameFamily(modes, Pareto(torch.tensor([1.0, 2.0]), ones(2))), Chain([]))
    torch.testing.assert_close(pareto.log_prob(y).exp(), torch.tensor([0.0, 0.0, 0.5 / 2.25, 1.5 / 9]))
    scale = nn.Parameter(torch.tensor(2.0))
    parts = Independent(Gamma(ones(2, 3), 1.0), 1)
    Flow(MixtureSameFamily(modes, parts), AffineScalar(scale=scale)).log_prob(-ones(4, 3)).exp().sum().backward()
    assert scale.grad == 0
