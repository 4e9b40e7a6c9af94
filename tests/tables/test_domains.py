"""The map onto the domains of columns: a bijector, whose images stay inside whatever the rounding does."""

import pytest
import torch

from flowlab import Flow, StandardNormal
from flowlab.tables.domains import Domains, to_units

INF = torch.inf
LOW, HIGH = (-INF, 0.0, -INF, 1000.0, -3.0), (INF, INF, 5.0, 1001.0, INF)


@pytest.fixture
def domains(dtype):
    return Domains(torch.tensor(LOW, dtype=dtype), torch.tensor(HIGH, dtype=dtype))


def test_images_are_inside_also_of_infinite_points(domains, dtype):
    x = torch.tensor([[-INF], [-1e30], [-200.0], [-20.0], [0.0], [20.0], [200.0], [1e30], [INF]], dtype=dtype)
    y = domains(x.expand(-1, 5))
    assert domains.codomain.check(y).all()
    assert y.isfinite().all()


def test_inverse_and_log_det(domains, dtype):
    x = 2 * torch.randn(200, 5, dtype=dtype)
    y, log_det = domains.forward_and_log_det(x)
    back, inverse_log_det = domains.inverse_and_log_det(y)
    exact = [0, 1] if dtype == torch.float32 else [0, 1, 2, 3, 4]  # 1000.5 leaves 14 bits of a float32 for the rest
    torch.testing.assert_close(back[:, exact], x[:, exact], rtol=1e-6, atol=1e-5)
    torch.testing.assert_close((log_det + inverse_log_det)[:, exact], torch.zeros_like(x)[:, exact], atol=1e-5, rtol=0)
    wide = x.double()
    slope = torch.func.vmap(torch.func.jacrev(Domains(torch.tensor(LOW).double(), torch.tensor(HIGH).double())))(wide)
    torch.testing.assert_close(slope.diagonal(dim1=-2, dim2=-1).log(), log_det.double(), rtol=1e-4, atol=1e-5)


def test_gradients_are_finite_where_another_column_overflows(domains, dtype):
    x = torch.full((1, 5), 1e30, dtype=dtype, requires_grad=True)
    domains(x).sum().backward()
    assert x.grad[:, [0, 2, 3]].isfinite().all()


@pytest.mark.parametrize("robust", [False, True])
def test_density_is_zero_outside_and_integrates_to_one(robust):
    ends = torch.tensor([0.0]).double().numpy(), torch.tensor([3.0]).double().numpy()
    units = to_units((torch.tensor([0.5]), torch.tensor([1.5]), robust), ends)
    flow = Flow(StandardNormal(1), units).double()
    y = torch.linspace(-1, 4, 100_001).double()[:, None]
    density = flow.log_prob(y).exp()
    assert torch.trapezoid(density, y[:, 0]) == pytest.approx(1, abs=1e-5)
    assert (density[(y[:, 0] <= 0) | (y[:, 0] >= 3)] == 0).all()
    assert flow.distribution().support.check(flow.sample((100,))).all()


def test_points_outside_are_replaced_by_points_inside(domains, dtype):
    from flowlab.torch_distributions import replace_outside

    y = torch.tensor([[0.0, -1.0, 7.0, 0.0, -3.0], [1.0, 1.0, 1.0, 1000.5, 1.0]], dtype=dtype)
    image = domains.codomain
    replaced = replace_outside(y, image.check(y), image)
    assert image.check(replaced).all()
    assert torch.equal(replaced[1], y[1])


def test_gradient_of_a_density_is_a_stack_of_gradients():
    """A sweep trains flows together by vmap, also where their domains differ."""
    ends = [(torch.tensor([0.0, -INF]), torch.tensor([2.0 + number, INF])) for number in range(2)]
    flows = [Flow(StandardNormal(2), Domains(*each)).double() for each in ends]
    points = torch.tensor([[0.5, 3.0], [-1.0, 0.0]]).double()
    constants = [dict(flow.named_buffers()) for flow in flows]
    stacked = {name: torch.stack([each[name] for each in constants]) for name in constants[0]}

    def score(buffers):
        return torch.func.functional_call(flows[0], buffers, (points,))

    expected = torch.stack([flow.log_prob(points) for flow in flows])
    torch.testing.assert_close(torch.func.vmap(score)(stacked), expected)
    assert expected[:, 1].tolist() == [-INF, -INF]


def test_a_checkpoint_holds_no_infinite_number(domains):
    assert domains.state_dict() == {}


def test_empty_interval_is_refused():
    with pytest.raises(ValueError, match="must be below"):
        Domains(torch.tensor([1.0]), torch.tensor([1.0]))


def test_double_points_pass_through_single_ends():
    domains = Domains(torch.tensor(LOW), torch.tensor(HIGH))
    y = domains(torch.full((5,), -900.0, dtype=torch.float64))
    assert y.dtype == torch.float64
    assert domains.codomain.check(y).all()
