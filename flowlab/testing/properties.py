"""Every property that a bijector is checked by, numbered."""

from __future__ import annotations

from flowlab.testing import behaviour, derivatives, maths
from flowlab.testing.property import Property

_LISTED = (
    ("round trip", "f^-1(f(x)) = x and f(f^-1(y)) = y, on tensors that are not the same", maths.round_trip),
    ("log det", "both log dets are those of the Jacobian, by automatic differentiation in float64", maths.log_det),
    ("cancel", "the log det of f^-1 at f(x) is minus that of f at x", maths.log_dets_cancel),
    ("independent", "an event depends on no other event, and elementwise no coordinate on another", maths.independence),
    ("mass", "the density of the images of a uniform cube integrates to 1", maths.mass),
    (
        "finite",
        "values and gradients are finite at 0, beside it, at 10 and 100, and of no points",
        maths.finite_values,
    ),
    ("edges", "x comes back up to the largest invertible x that is stated, and not beyond", maths.edges),
    ("declared", "domain, codomain, shapes, sign, constant log det and affine are as declared", maths.declarations),
    (
        "gradients",
        "both directions reach every parameter with a finite gradient that is not 0, and all are those of differences",
        derivatives.gradients,
    ),
    ("batched", "several sets of parameters at once give what each gives alone", behaviour.batched_parameters),
    (
        "shapes",
        "a point alone and batches of any shape give what a list gives, with log det and without",
        behaviour.shapes,
    ),
    ("start", "at its start it is the map that is documented", behaviour.start),
    ("types", "dtype and device in are those out, whatever torch's defaults are", behaviour.types_and_devices),
    ("saved", "saved and loaded as plain tensors it is the same map", behaviour.save_and_load),
    ("refused", "an invalid argument is refused by its name", behaviour.invalid_arguments),
    (
        "support",
        "the density is finite at images, and 0 outside the support and at NaN",
        behaviour.outside_the_support,
    ),
    ("seeds", "one seed gives one start and one set of samples, and leaves torch's stream alone", behaviour.seeds),
    ("compiled", "as one compiled graph it is the same map", behaviour.compiled),
    (
        "context",
        "a point is mapped by its own context; one that is not used changes nothing",
        behaviour.conditioning,
    ),
)

PROPERTIES = tuple(Property(number, *listed) for number, listed in enumerate(_LISTED, start=1))
