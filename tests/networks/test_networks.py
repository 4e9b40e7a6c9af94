"""Conditioners: they start at zero, take a context of any batch, and a mask lets no later coordinate through."""

import pytest
import torch
from torch.func import jacrev, vmap

from flowlab.networks import MLP, MaskedMLP


def stir(network, seed=0):
    """Move all parameters, since a last layer of 0 hides what a network depends on."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    return network.double()


@pytest.mark.parametrize("network", [MLP(2, 5, [7, 7], context=3), MaskedMLP(2, 4, [6], context=3)])
def test_a_network_starts_at_zero_and_broadcasts_its_context(network):
    x, context = torch.randn(6, 2), torch.randn(4, 1, 3)
    assert not network(x, context).any()
    stirred = stir(network)
    x, context = x.double(), context.double()
    out = stirred(x, context)
    assert out.shape[:2] == (4, 6)
    torch.testing.assert_close(out[2, 5], stirred(x[5], context[2, 0]))


def test_equal_seeds_give_equal_weights():
    first, again, other = (MLP(2, 3, [5, 5], context=1, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.weights[0], other.weights[0])


def test_relu_overwrites_neither_the_argument_nor_what_a_residual_adds():
    network = stir(MLP(2, 1, [4, 4, 4], residual=True))
    x = torch.randn(6, 2, dtype=torch.float64)
    before = x.clone()
    out = network(x)
    slopes = torch.autograd.grad(out.sum(), list(network.parameters()))
    assert torch.equal(x, before)
    network.activation = torch.nn.ReLU()
    expected = network(x)
    assert torch.equal(out, expected)
    assert all(map(torch.equal, slopes, torch.autograd.grad(expected.sum(), list(network.parameters()))))


def test_a_residual_network_adds_the_input_of_a_hidden_layer():
    plain, residual = (
        stir(MLP(2, 1, [4, 4, 3], activation="tanh", residual=on, generator=torch.Generator().manual_seed(0)))
        for on in (False, True)
    )
    x = torch.randn(5, 2, dtype=torch.float64)
    first, second, third, last = [
        lambda h, w=w, b=b: h @ w.T + b for w, b in zip(plain.weights, plain.biases, strict=True)
    ]
    hidden = first(x).tanh()
    torch.testing.assert_close(plain(x), last(third(second(hidden).tanh()).tanh()))
    torch.testing.assert_close(residual(x), last(third(second(hidden).tanh() + hidden).tanh()))


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3]])
def test_a_coordinate_depends_on_every_one_before_it_and_on_no_other(order, residual):
    network = stir(MaskedMLP(5, 2, [16, 16], activation="tanh", order=order, residual=residual))
    jacobian = vmap(jacrev(network))(torch.randn(3, 5, dtype=torch.float64)).abs().sum((0, 2))
    place = torch.tensor(order)
    assert torch.equal(jacobian > 0, place[None, :] < place[:, None])


def test_every_hidden_unit_is_used():
    for dim, hidden in ((1, 3), (2, 5), (5, 4), (5, 40), (9, 3)):
        network = MaskedMLP(dim, 2, [hidden, hidden], context=1)
        assert network.mask2.any(0).all()  # an output sees it
        assert network.mask1.any(1).all()
        assert dim == 1 or MaskedMLP(dim, 2, [hidden]).mask0.any(1).all()  # it sees an input


def test_the_first_coordinate_depends_on_the_context():
    for dim in (1, 3):
        network = stir(MaskedMLP(dim, 1, [12], context=2, activation="tanh"))
        jacobian = jacrev(network, argnums=1)(torch.zeros(dim).double(), torch.zeros(2).double())
        assert jacobian.abs().sum(-1).min() > 0


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: MLP(1, 1, []), r"hidden=\[\] must be the sizes of one layer or more"),
        (lambda: MLP(1, 1, [0]), r"hidden=\[0\] must be"),
        (lambda: MLP(1, 1, activation="rely"), "activation='rely' is unknown; allowed: relu, elu"),
        (lambda: MaskedMLP(3, 1, order=[0, 1, 1]), r"order=\[0, 1, 1\] must hold each of 0 to 2 once"),
    ],
)
def test_settings_out_of_range_are_refused(build, words):
    with pytest.raises(ValueError, match=words):
        build()
