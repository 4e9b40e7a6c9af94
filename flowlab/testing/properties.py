"""The numbered list of all properties."""

from __future__ import annotations

from flowlab.testing import behaviour, derivatives, maths
from flowlab.testing.property import Property

_LISTED = (
    ("round trip", "f^-1(f(x)) = x and f(f^-1(y)) = y, on new tensors", maths.check_round_trip),
    ("log det", "both log dets equal the log |det| of the Jacobian in float64", maths.check_log_det),
    ("cancel", "the log det of f^-1 at f(x) is minus the log det of f at x", maths.check_log_dets_cancel),
    ("independent", "no event depends on another; elementwise no coordinate on another", maths.check_independence),
    ("mass", "the density of the images of a uniform cube integrates to 1", maths.check_mass),
    (
        "finite",
        "values and gradients are finite at 0, next to it, at 10 and 100, and for an empty batch",
        maths.check_finite_values,
    ),
    ("edges", "x is recovered up to the stated end of the invertible interval, and not beyond", maths.check_edges),
    ("declared", "domain, codomain, shapes, sign, constant log det and affine are right", maths.check_declarations),
    (
        "gradients",
        "in both directions every parameter gets a finite nonzero gradient that equals finite differences",
        derivatives.check_gradients,
    ),
    ("batched", "a batch of parameter sets gives the results of each alone", behaviour.check_batched_parameters),
    (
        "shapes",
        "one point and batches of any shape give the same results, with log det and without",
        behaviour.check_shapes,
    ),
    ("initial", "before training it is the documented map", behaviour.check_initialization),
    ("types", "results have the dtype and device of the points", behaviour.check_types_and_devices),
    ("saved", "saved and loaded as plain tensors it is the same map", behaviour.check_save_and_load),
    ("refused", "an invalid argument raises an error that names it", behaviour.check_invalid_arguments),
    (
        "support",
        "the density is finite at images, and 0 outside the support and at NaN",
        behaviour.check_support,
    ),
    ("seeds", "one seed gives one initialization and one set of samples", behaviour.check_seeds),
    ("compiled", "as one compiled graph it is the same map", behaviour.check_compiled),
    (
        "context",
        "a point is mapped by its own context; an unused context changes nothing",
        behaviour.check_conditioning,
    ),
)

PROPERTIES = tuple(Property(number, *listed) for number, listed in enumerate(_LISTED, start=1))
