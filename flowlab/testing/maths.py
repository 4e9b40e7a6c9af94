"""Properties of a bijector as a map: values and log dets, at ordinary points and at the edges."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from scipy.stats import qmc
from torch import Tensor

from flowlab.testing.property import agree, checks, close, finite, for_all, need, need_charts, need_inverse
from flowlab.testing.subject import Sample, Subject, all_of_rows, chart, forward, inverse, jacobian, stretches, within
from flowlab.torch_distributions import is_lower_dimensional, is_unbounded

CUBE = 1.5  # half the side of the cube whose image is integrated
POINTS = 2**16  # of the quadrature; whether a point at the boundary counts is random
LARGEST_DIM = 4  # up to here the points are dense enough
SIZES = (0.0, 10.0, 100.0)  # values and gradients must be finite here, and next to 0


@checks("round trip", "f^-1(f(x)) = x and f(f^-1(y)) = y, on new tensors")
def check_round_trip(subject: Subject) -> None:
    need_inverse(subject)
    need_charts(subject)

    def claim(sample: Sample) -> None:
        y = forward(sample)[0]
        reversed_sample = sample._replace(context=None if sample.context is None else sample.context.flip(0))
        x = inverse(reversed_sample, y.flip(0))[0].flip(0)  # in a different order, so nothing can be cached
        again = sample.bijector.forward(x.clone(), sample.context)
        allowed_x, allowed_y = rounding_errors(subject, sample, y)
        close("f^-1(f(x))", x, sample.x, by_row(allowed_x, x))
        close("f(f^-1(y))", again, y, by_row(allowed_y, y))

    for_all(subject.samples(), claim)
    if distant := subject.far_points():
        claim(distant)
    if declared := subject.codomain_points():
        sample, y = declared
        again = sample.bijector.forward(sample.x, sample.context)
        allowed = by_row(rounding_errors(subject, sample, y)[1], y)
        close("f(f^-1(y)), y of the declared codomain,", again, y, allowed)


def size(points: Tensor) -> Tensor:
    """The largest |coordinate| of each of n points, of shape (n,)."""
    return points.abs().flatten(1).amax(1)


def magnification(sample: Sample, y: Tensor) -> Tensor:
    """By how much f^-1 magnifies a rounding error of the image, of shape (n,); infinite where x is lost to it."""
    ratio = size(y) / stretches(sample)[0]
    return torch.where(torch.finfo(y.dtype).eps * ratio < 0.1, ratio, torch.inf)


def rounding_errors(subject: Subject, sample: Sample, y: Tensor) -> tuple[Tensor, Tensor]:
    """The errors of x and of y that rounding alone may cause in a round trip, both of shape (n,)."""
    magnified, most = magnification(sample, y), stretches(sample)[1]
    x_scale, y_scale = 1 + size(sample.x) + magnified, 1 + size(y) + (size(sample.x) + magnified) * most
    return subject.tolerance * x_scale, subject.tolerance * y_scale


def by_row(allowed: Tensor, like: Tensor) -> Tensor:
    """One number for each point, expanded to all coordinates of the point."""
    return allowed.view(-1, *(1 for _ in like.shape[1:])).expand_as(like)


@checks("log det", "both log dets equal the log |det| of the Jacobian in float64")
def check_log_det(subject: Subject) -> None:
    need_charts(subject)

    def claim(sample: Sample) -> None:
        exact = sample.double()
        y, value = forward(sample)
        expected = torch.linalg.slogdet(jacobian(exact.bijector, exact.x, exact.context))[1]
        close("log det of f", subject.sum_event(value), expected, subject.tolerance * (1 + expected.abs()))
        if subject.bijector.has_inverse and bool(subject.bijector.codomain.check(y).all()):
            value = subject.sum_event(inverse(sample, y)[1])
            expected = torch.linalg.slogdet(jacobian(exact.bijector.inv, y.double(), exact.context))[1]
            allowed = subject.tolerance * (1 + expected.abs() + magnification(sample, y))
            close("log det of f^-1", value, expected, allowed)

    for_all(subject.samples(), claim)
    if distant := subject.far_points():
        claim(distant)


@checks("cancel", "the log det of f^-1 at f(x) is minus the log det of f at x")
def check_log_dets_cancel(subject: Subject) -> None:
    need_inverse(subject)
    need_charts(subject)

    def claim(sample: Sample) -> None:
        y, forwards = forward(sample)
        allowed = subject.tolerance * (1 + magnification(sample, y))
        allowed = by_row(allowed, forwards) + subject.tolerance * forwards.double().abs()
        close("minus the log det of f^-1", -inverse(sample, y)[1], forwards, allowed)

    for_all(subject.samples(), claim)


@checks("independent", "no event depends on another; elementwise no coordinate on another")
def check_independence(subject: Subject) -> None:
    def claim(pair: tuple[Sample, Sample]) -> None:
        sample, other = pair
        count = min(len(sample.x), len(other.x))
        x, changed = sample.x[:count].clone(), other.x[:count].clone()
        changed[0] = x[0]
        kept: tuple[int, ...] = (0,)
        if subject.bijector.event_dim == subject.bijector.image_event_dim == 0:
            changed[0] = torch.where(torch.arange(x[0].numel()).view_as(x[0]) == 0, x[0], other.x[0])
            kept = (0,) * x.ndim
        context = None if sample.context is None else sample.context[:count]
        results = [sample.bijector.forward_and_log_det(points, context) for points in (x, changed)]
        first, second = ([value[kept] for value in values] for values in results)
        agree("an event of f, when other events change", first, second)
        if subject.bijector.has_inverse:
            pulled = [sample.bijector.inverse_and_log_det(image, context) for image, _ in results]
            first, second = ([value[kept] for value in values] for values in pulled)
            agree("an event of f^-1, when other events change", first, second)

    for_all(st.tuples(subject.samples(), subject.samples()), claim)


@checks("mass", "the density of the images of a uniform cube integrates to 1")
def check_mass(subject: Subject) -> None:
    """Integrate the density of the images of a uniform cube over quasi-random points of a box around them."""
    need_inverse(subject)
    need_charts(subject)
    inside, outside = chart(subject.bijector.domain), chart(subject.bijector.codomain)
    assert inside is not None
    assert outside is not None
    bijector, context = subject.moved(1), subject.context(1)
    center = inside.free(subject.points(torch.zeros(1, subject.dim)))[0]
    need(len(center) <= LARGEST_DIM, f"in {len(center)} dimensions too few of {POINTS} points lie in an image")
    beside = 0.3 * (-1.0) ** torch.arange(subject.dim)[None]
    near = (inside.free(subject.points(beside))[0] - center).abs().max()  # no corner leaves a bounded domain
    # Onto an interval, the image of a wide cube is too thin for the points.
    wide = all(is_unbounded(each) and not is_lower_dimensional(each) for each in (bijector.domain, bijector.codomain))
    half = torch.full_like(near, CUBE) if wide else near
    corners = torch.as_tensor(qmc.Sobol(len(center), seed=0).random(POINTS), dtype=subject.dtype)

    def each(points: Tensor) -> Tensor | None:
        return None if context is None else context.expand(len(points), -1)

    with torch.no_grad():
        cube = inside.event(center + half * (2 * corners - 1))
        images = outside.free(bijector.forward(cube, each(cube)))
        low, high = images.amin(0), images.amax(0)
        low, high = low - 0.02 * (high - low), high + 0.02 * (high - low)
        y = outside.event(low + (high - low) * corners)
        y = y[within(bijector.codomain, y)]
        x, backwards = bijector.inverse_and_log_det(y, each(y))
        of_cube = ((inside.free(x) - center).abs() <= half).all(-1)
        density = subject.sum_event(backwards).double().exp()[of_cube] / float(2 * half) ** len(center)
        total = float(density.sum() / POINTS * (high - low).double().prod())
    close("the mass", torch.tensor(total), torch.tensor(1.0), 0.01)


@checks("finite", "values and gradients are finite at 0, next to it, at 10 and 100, and for an empty batch")
def check_finite_values(subject: Subject) -> None:
    bijector, info = subject.fresh(), torch.finfo(subject.dtype)
    sizes = (*SIZES, info.eps, info.smallest_normal, info.smallest_normal * info.eps)  # the last: the smallest above 0
    numbers = torch.tensor([[sign * size] * subject.dim for size in sizes for sign in (1, -1)])
    mixed = numbers * (-1.0) ** torch.arange(subject.dim)
    numbers = torch.cat([numbers, mixed, 0.1 * mixed]).to(subject.dtype)
    inside = chart(subject.bijector.domain)
    plain = inside.event(numbers) if inside is not None and inside.free(numbers).shape == numbers.shape else numbers
    for x in (plain, subject.points(numbers)):
        if x.shape[1:] != subject.points(numbers).shape[1:]:
            continue
        x = x[within(bijector.domain, x)]
        if not len(x):
            continue
        sample = Sample(bijector, x, subject.context(len(x)))
        y = finite_at("f", sample, backwards=False)
        if bijector.has_inverse:
            kept = within(bijector.codomain, y) & all_of_rows(y.isfinite()) & is_distinguishable(sample, y)
            finite_at("f^-1", sample._replace(x=y).rows(kept), backwards=True)
    nothing = Sample(bijector, subject.points(torch.zeros(0, subject.dim)), subject.context(0))
    y, log_dets = forward(nothing)
    assert len(y) == len(log_dets) == 0, "an empty batch has images"
    if bijector.has_inverse:
        agree("the pre-images of an empty batch", [inverse(nothing, y)[0]], [nothing.x])


def is_distinguishable(sample: Sample, y: Tensor) -> Tensor:
    """Where one rounding of the image moves the pre-image by less than 0.1, of shape (n,); elsewhere x is lost."""
    if not len(y) or chart(sample.bijector.domain) is None or chart(sample.bijector.codomain) is None:
        return torch.ones(len(y), dtype=torch.bool)
    return magnification(sample, y).isfinite()


def finite_at(what: str, sample: Sample, backwards: bool) -> Tensor:
    """Check that images, log dets and gradients are finite where they fit into the dtype; return the images."""
    if not len(sample.x):
        return sample.x

    def pull(sample: Sample) -> tuple[Tensor, Tensor, Tensor]:
        x = sample.x.clone().requires_grad_()
        y, log_det = inverse(sample, x) if backwards else forward(sample._replace(x=x))
        total = y.sum() + log_det.sum()
        (gradient,) = torch.autograd.grad(total, x) if total.requires_grad else (torch.zeros_like(x),)
        return y.detach(), log_det.detach(), gradient

    values, largest = pull(sample), torch.finfo(sample.x.dtype).max / 16
    fits = torch.stack([all_of_rows(value.abs() < largest) for value in pull(sample.double())]).all(0)
    for name, value in zip((what, f"the log det of {what}", f"the gradient of {what}"), values, strict=True):
        finite(name, value[fits], sample.x[fits])
    return values[0]


@checks("edges", "x is recovered up to the stated end of the invertible interval, and not beyond")
def check_edges(subject: Subject) -> None:
    need_inverse(subject)
    bijector = subject.fresh()
    interval = bijector.invertible(subject.dtype)
    if interval is not None:
        ends = [(0.999 * end, 1.05 * end) for end in interval if end]  # at 0 the domain ends
    else:
        need(bijector.affine, "it states no interval on which it is invertible")
        far = 1.0
        while bijector.forward(one_at_a_time(far, subject)).isfinite().all():
            far *= 2
        largest = min(far, torch.finfo(subject.dtype).max)
        ends = [(sign * largest / 1000, sign * far) for sign in (1, -1)]  # the inverse may have larger values inside
    for inner, outer in ends:
        x = one_at_a_time(inner, subject)
        again = bijector.inverse(bijector.forward(x).clone())
        finite(f"f^-1(f(x)), where f is invertible up to {inner},", again, x)
        close(f"f^-1(f(x)), where f is invertible up to {inner},", again, x, 0.1 * abs(inner) + 1)
        x = one_at_a_time(outer, subject)
        again = bijector.inverse(bijector.forward(x).clone())
        lost = ~again.isfinite() | ((again - x).abs() > 0.01 * x.abs())
        assert lost.any(), f"f^-1(f(x)) is still x at {outer}, beyond the stated end"


def one_at_a_time(value: float, subject: Subject) -> Tensor:
    """Points with one coordinate at a value and the others at 0; for an elementwise map all coordinates are there."""
    row = torch.full((subject.dim,), value, dtype=torch.float64).to(subject.dtype)
    return row.diag() if subject.bijector.event_dim else row[None]


@checks("declared", "domain, codomain, shapes, sign, constant log det and affine are right")
def check_declarations(subject: Subject) -> None:
    sample, distant = subject.many(), subject.far_points()
    x, bijector, tolerance = sample.x, sample.bijector, subject.tolerance
    y, log_dets = forward(sample)
    for images in (y, forward(distant)[0]) if distant else (y,):
        assert bijector.codomain.check(images).all(), f"an image is not in the declared codomain {bijector.codomain}"
    assert y.shape == bijector.forward_shape(x.shape), "forward_shape is not the shape of the image"
    assert x.shape == bijector.inverse_shape(y.shape), "inverse_shape is not the shape of the pre-image"
    if bijector.event_shape is not None:
        assert tuple(x.shape[1:]) == bijector.event_shape, f"event_shape={bijector.event_shape} is not x's"
    if bijector.parameter_shape is not None:
        expected = torch.broadcast_shapes(x.shape, bijector.parameter_shape)
        assert y.shape == expected, f"parameter_shape={tuple(bijector.parameter_shape)} does not give y's shape"
    for name, points in (("event_dim", x), ("image_event_dim", y)):
        covered = getattr(bijector, name)
        assert log_dets.shape == points.shape[: points.ndim - covered], f"a log det does not cover {name}={covered}"
    sign = torch.as_tensor(bijector.sign, dtype=subject.dtype)
    if not bijector.event_dim and sign.any():
        slope = torch.func.jvp(lambda x: bijector.forward(x, sample.context), (x,), (torch.ones_like(x),))[1]
        agree("the sign of the slope", [slope.sign()], [sign.expand_as(slope)])
    event_log_dets = subject.sum_event(log_dets)
    if bijector.constant_log_det:
        close("a constant log det", event_log_dets, event_log_dets[0].expand_as(event_log_dets), tolerance)
    if bijector.affine:
        one = None if sample.context is None else sample.context[:1]  # it is affine given a context
        center = bijector.forward(x, one).mean(0, keepdim=True)
        close("the mean of the images", center, bijector.forward(x.mean(0, keepdim=True), one), tolerance * 10)
