"""What every bijector promises, for each example in the registry."""

import math

import pytest
import torch
from torch.distributions import constraints, transform_to
from torch.func import functional_call, jacfwd, stack_module_state, vmap

from flowlab.bijectors import (
    Bijector,
    Chain,
    NoInverseError,
    fill_triangular,
    from_transform,
    pack_triangular,
    stages,
    to_transform,
)
from flowlab.bijectors.registry import DIM, EXAMPLES
from flowlab.supports import open_simplex

TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-9}


@pytest.fixture(params=EXAMPLES, ids=str)
def example(request):
    return EXAMPLES[request.param]


def points(bijector: Bijector, dtype: torch.dtype, shape=(64,)) -> torch.Tensor:
    """Points of the domain on both sides of 0, so that every branch is taken, and where no map saturates yet.

    They are made from DIM numbers each: a domain of another shape, such as matrices, gets what these are mapped to.
    """
    x = (1.5 * torch.randn(*shape, DIM, dtype=dtype, generator=torch.Generator().manual_seed(1))).clamp(-2, 2)
    flat = x.view(-1, DIM)
    flat[0], flat[1] = -flat[1].abs(), flat[1].abs()
    return transform_to(bijector.domain)(x)


def full(log_det: torch.Tensor, bijector: Bijector) -> torch.Tensor:
    return log_det.sum(-1) if bijector.event_dim == 0 else log_det


def identity(value):
    return value


# The free coordinates of an event of a thin set, which determinants are taken between, and the event of them.
CHARTS = {
    open_simplex: (lambda y: y[..., :-1], lambda free: torch.cat([free, 1 - free.sum(-1, keepdim=True)], -1)),
    type(constraints.lower_triangular): (pack_triangular, lambda free: fill_triangular(free, 2)),
}


def determinant(bijector: Bijector, x: torch.Tensor) -> torch.Tensor:
    """log |det| of the Jacobian between free coordinates, by automatic differentiation."""
    free, event = CHARTS.get(type(bijector.domain), (identity, identity))
    free_image, _ = CHARTS.get(type(bijector.codomain), (identity, identity))
    return torch.linalg.slogdet(vmap(jacfwd(lambda x: free_image(bijector(event(x)))))(free(x)))[1]


def test_round_trips(example, dtype):
    bijector = example().to(dtype)
    x = points(bijector, dtype)
    y = bijector(x.clone())
    torch.testing.assert_close(bijector.inverse(y.clone()), x, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    again = bijector(bijector.inverse(y.clone()).clone())
    torch.testing.assert_close(again, y, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_log_det_is_that_of_the_jacobian(example, dtype):
    bijector = example().to(dtype)
    x = points(bijector, dtype)
    y, log_det = bijector.forward_and_log_det(x)
    expected = determinant(bijector, x)
    torch.testing.assert_close(full(log_det, bijector), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    y = y.detach()
    inverse = determinant(bijector.inv, y)
    log_det = bijector.inverse_and_log_det(y)[1]
    torch.testing.assert_close(full(log_det, bijector), inverse, rtol=20 * TOLERANCE[dtype], atol=20 * TOLERANCE[dtype])


def test_images_are_the_same_without_the_log_det(example, dtype):
    bijector = example().to(dtype)
    x = points(bijector, dtype)
    y = bijector.forward_and_log_det(x)[0]
    assert torch.equal(bijector.forward(x), y)
    assert torch.equal(bijector.inverse(y), bijector.inverse_and_log_det(y)[0])


def test_the_two_log_dets_cancel(example, dtype):
    bijector = example().to(dtype)
    y, forward = bijector.forward_and_log_det(points(bijector, dtype))
    inverse = bijector.inverse_and_log_det(y)[1]
    torch.testing.assert_close(inverse, -forward, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_documents_names_agree_with_the_fused_methods(example):
    bijector = example().double()
    x = points(bijector, torch.float64)
    y, log_det = bijector.forward_and_log_det(x)
    torch.testing.assert_close(bijector.forward_log_det_jacobian(x), log_det)
    # An event of an example is all of a point but its place in the batch.
    torch.testing.assert_close(bijector.forward_log_det_jacobian(x, event_ndims=x.ndim - 1), full(log_det, bijector))
    torch.testing.assert_close(
        bijector.inverse_log_det_jacobian(y, event_ndims=y.ndim - 1), -full(log_det, bijector), rtol=1e-7, atol=1e-7
    )
    if bijector.event_dim:
        with pytest.raises(ValueError, match=f"event_ndims={x.ndim - 2}"):
            bijector.forward_log_det_jacobian(x, event_ndims=x.ndim - 2)
        with pytest.raises(ValueError, match=f"event_ndims={y.ndim - 2}.* last {y.ndim - 1} "):
            bijector.inverse_log_det_jacobian(y, event_ndims=y.ndim - 2)


def test_gradients_are_finite_and_reach_every_parameter(example, dtype):
    for direction in ("forward_and_log_det", "inverse_and_log_det"):
        bijector = example().to(dtype)
        x = points(bijector, dtype)
        argument = (x if direction.startswith("forward") else bijector(x)).detach().requires_grad_()
        value, log_det = getattr(bijector, direction)(argument)
        (value.square().sum() + log_det.sum()).backward()
        assert argument.grad.isfinite().all()
        for name, parameter in bijector.named_parameters():
            assert parameter.grad is not None, f"{direction}: {name} gets no gradient"
            assert parameter.grad.isfinite().all(), f"{direction}: the gradient of {name} is not finite"
            assert parameter.grad.abs().sum() > 0, f"{direction}: the gradient of {name} is zero"


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3)])
def test_shapes(example, dtype, shape):
    bijector = example().to(dtype)
    x = points(bijector, dtype, (6,))
    x = x[: math.prod(shape)].reshape(*shape, *x.shape[1:])
    y = bijector(x)
    assert y.shape == bijector.forward_shape(x.shape)
    assert bijector.inverse_shape(y.shape) == x.shape
    assert x.ndim - y.ndim == bijector.event_dim - bijector.image_event_dim
    for value, (result, log_det) in ((y, bijector.forward_and_log_det(x)), (x, bijector.inverse_and_log_det(y))):
        assert result.shape == value.shape
        assert log_det.shape == (shape if bijector.event_dim else x.shape)
        assert result.dtype == log_det.dtype == dtype


def test_batches_equal_one_by_one(example):
    bijector = example().double()
    x = points(bijector, torch.float64, (6,))
    value, log_det = bijector.forward_and_log_det(x)
    singles = [bijector.forward_and_log_det(row) for row in x]
    torch.testing.assert_close(value, torch.stack([single[0] for single in singles]))
    torch.testing.assert_close(log_det, torch.stack([single[1] for single in singles]))


@pytest.mark.parametrize("name", [name for name, make in EXAMPLES.items() if make().state_dict()])
def test_vmap_over_parameters_equals_a_loop(name):
    bijectors = [EXAMPLES[name]().double() for _ in range(3)]
    with torch.no_grad():
        for number, bijector in enumerate(bijectors):
            for parameter in bijector.parameters():
                parameter.mul_(1 + 0.1 * number)
    x = points(bijectors[0], torch.float64, (5,))
    y = bijectors[0](x).detach()
    parameters, buffers = stack_module_state(bijectors)

    class Both(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bijector = bijectors[0]

        def forward(self, x, y):
            return *self.bijector.forward_and_log_det(x), *self.bijector.inverse_and_log_det(y)

    def call(parameters, buffers):
        state = {f"bijector.{name}": value for name, value in {**parameters, **buffers}.items()}
        return functional_call(Both(), state, (x, y))

    stacked = vmap(call)(parameters, buffers)
    for number, bijector in enumerate(bijectors):
        alone = (*bijector.forward_and_log_det(x), *bijector.inverse_and_log_det(y))
        for together, single in zip(stacked, alone, strict=True):
            torch.testing.assert_close(together[number], single, rtol=1e-9, atol=1e-9)


def test_compiles_as_one_graph(example):
    bijector = example()
    x = points(bijector, torch.float32, (4,))
    torch._dynamo.reset()

    @torch.compile(fullgraph=True, backend="eager")
    def both(x):
        y, log_det = bijector.forward_and_log_det(x)
        return y, log_det, *bijector.inverse_and_log_det(y)

    y, log_det = bijector.forward_and_log_det(x)
    for compiled, eager in zip(both(x), (y, log_det, *bijector.inverse_and_log_det(y)), strict=True):
        torch.testing.assert_close(compiled, eager)


def test_no_constant_is_tied_to_a_device(example):
    """On the device "meta" a tensor made elsewhere shows at once: mixing the two is an error."""
    bijector = example().to("meta")
    x = points(bijector, torch.float32, (4,)).to("meta")
    y = torch.empty(bijector.forward_shape(x.shape), device="meta")
    for value, log_det in (bijector.forward_and_log_det(x), bijector.inverse_and_log_det(y)):
        assert value.device.type == log_det.device.type == "meta"


def test_save_and_load(example, tmp_path):
    saved, loaded = example().double(), example().double()
    with torch.no_grad():
        for parameter in saved.parameters():
            parameter.mul_(1.25)
    torch.save(saved.state_dict(), tmp_path / "bijector.pt")
    loaded.load_state_dict(torch.load(tmp_path / "bijector.pt", weights_only=True))
    x = points(saved, torch.float64)
    assert torch.equal(saved(x), loaded(x))


def test_images_lie_in_the_codomain(example, dtype):
    bijector = example().to(dtype)
    assert bijector.codomain.check(bijector(points(bijector, dtype))).all()


def test_torch_transforms_agree(example):
    bijector = example().double()
    transform = to_transform(bijector)
    x = points(bijector, torch.float64, (6,))
    y, log_det = bijector.forward_and_log_det(x)
    assert transform.forward_shape(x.shape) == y.shape
    assert transform.inverse_shape(y.shape) == x.shape
    torch.testing.assert_close(transform(x), y)
    torch.testing.assert_close(transform.log_abs_det_jacobian(x, y), log_det)
    assert transform.codomain.event_dim == bijector.image_event_dim or not bijector.event_dim
    back = from_transform(transform)
    assert (back.event_dim, back.image_event_dim) == (bijector.event_dim, bijector.image_event_dim)
    torch.testing.assert_close(back.inverse_and_log_det(y)[1], bijector.inverse_and_log_det(y)[1])


def test_declared_sign_is_that_of_the_slope(example):
    bijector = example().double()
    sign = torch.as_tensor(bijector.sign, dtype=torch.float64)
    if bijector.event_dim or not sign.any():
        return
    x = points(bijector, torch.float64)
    y, slope = torch.func.jvp(lambda x: bijector(x), (x,), (torch.ones_like(x),))
    assert torch.equal(slope.sign(), sign.expand_as(y))


def test_declared_constant_log_det_is_constant(example):
    bijector = example().double()
    log_det = full(bijector.forward_and_log_det(points(bijector, torch.float64))[1], bijector)
    assert not bijector.constant_log_det or (log_det - log_det[0]).abs().max() < 1e-12


def test_declared_affine_maps_are(example):
    bijector = example().double()
    if not bijector.affine:
        return
    x = points(bijector, torch.float64)
    torch.testing.assert_close(bijector(x).mean(0), bijector(x.mean(0)), rtol=1e-12, atol=1e-12)


def test_inverse_of_the_inverse_is_the_same_map(example):
    bijector = example().double()
    x = points(bijector, torch.float64)
    y = bijector(x)
    torch.testing.assert_close(bijector.inv(y), x, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(bijector.inv.inv(x), y)
    assert {id(p) for p in bijector.inv.parameters()} == {id(p) for p in bijector.parameters()}


def test_representations(example):
    bijector = example()
    assert type(bijector).__name__ in repr(bijector)
    summary = bijector.summary()
    assert len(summary) == len(stages(bijector))
    assert summary["trainable"].sum() == sum(p.numel() for p in bijector.parameters())
    assert "<table" in bijector._repr_html_()


def test_every_bijector_has_an_example():
    from flowlab import bijectors

    public = {getattr(bijectors, name) for name in bijectors.__all__}
    classes = {c for c in public if isinstance(c, type) and issubclass(c, Bijector) and c is not Bijector}
    shown = {type(stage) for make in EXAMPLES.values() for stage in [make(), *stages(make())]}
    assert classes <= shown


def test_a_bijector_without_inverse_says_so():
    class OneWay(Bijector):
        has_inverse = False

        def forward_and_log_det(self, x, context=None):
            return x, torch.zeros_like(x)

    with pytest.raises(NoInverseError, match="OneWay"):
        OneWay().inverse(torch.zeros(2))
    with pytest.raises(NoInverseError, match="OneWay"):
        _ = OneWay().inv
    assert not Chain([OneWay()]).has_inverse
