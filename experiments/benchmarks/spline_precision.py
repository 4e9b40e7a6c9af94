"""How much a float32 round trip through a rational quadratic spline loses, in flowlab and in other libraries.

    python experiments/benchmarks/spline_precision.py [POINTS]

Needs zuko, nflows and flowjax beside flowlab. For 10^6 points it takes about a minute. Each spline has 8 bins, the box
[-5, 5] and its library's other defaults. Raw parameters are drawn from N(0, 3^2), y and x uniformly from the box.
The table shows, in float32:

    of y      the largest |f(f^-1(y)) - y|
    of x      the largest |f^-1(f(x)) - x|
    rounding  the largest |f(x) - y| for the nearest float32 x to the exact f^-1(y), all else in float64: no formula
              can be better with these parameters

inf stands for NaN, and for the assertion of nflows that fails where rounding makes a discriminant negative.

Measured with 10^6 points, zuko 1.6.0, nflows 0.14 and flowjax 19.1.2:

                 of y     of x rounding
    flowlab   8.1e-06  1.0e-03  8.2e-06
    zuko      6.4e-03  5.2e-02  1.0e-04
    nflows    2.5e-03      inf  4.6e-04
    flowjax   1.7e-02  8.6e+00  4.6e-03
"""

import sys
from collections.abc import Callable, Iterator, Sequence

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import torch
import zuko
from flowjax.bijections import RationalQuadraticSpline
from nflows.transforms.splines.rational_quadratic import unconstrained_rational_quadratic_spline
from paramax import unwrap

from flowlab.bijectors.maps import Spline

BINS, BOUND, BLOCK = 8, 5.0, 100_000

Both = tuple[Callable[[torch.Tensor], torch.Tensor], Callable[[torch.Tensor], torch.Tensor]]


def flowlab(raw: torch.Tensor) -> Both:
    spline = Spline(BINS, BOUND)
    return lambda x: spline.forward_and_log_det(x, raw)[0], lambda y: spline.inverse_and_log_det(y, raw)[0]


def zuko_(raw: torch.Tensor) -> Both:
    spline = zuko.transforms.MonotonicRQSTransform(*raw.split((BINS, BINS, BINS - 1), -1), bound=BOUND)
    return spline, spline.inv


def nflows(raw: torch.Tensor) -> Both:
    def evaluate(points: torch.Tensor, inverse: bool) -> torch.Tensor:
        parts = raw.split((BINS, BINS, BINS - 1), -1)
        return unconstrained_rational_quadratic_spline(points, *parts, inverse, tail_bound=BOUND)[0]

    return lambda x: evaluate(x, False), lambda y: evaluate(y, True)


def flowjax(raw: torch.Tensor) -> Both:
    def evaluate(points: torch.Tensor, method: str) -> torch.Tensor:
        with jax.enable_x64(raw.dtype == torch.float64):
            # The arrays are the raw widths, heights and slopes, in this order.
            arrays, rest = equinox.partition(RationalQuadraticSpline(knots=BINS - 1, interval=BOUND), equinox.is_array)
            leaves, tree = jax.tree.flatten(arrays)
            ends = np.cumsum([leaf.size for leaf in leaves])[:-1]

            def one(row: jax.Array, point: jax.Array) -> jax.Array:
                spline = equinox.combine(jax.tree.unflatten(tree, jnp.split(row, ends)), rest)
                return getattr(unwrap(spline), method)(point)

            return torch.from_numpy(np.array(jax.jit(jax.vmap(one))(raw.numpy(), points.numpy())))

    return lambda x: evaluate(x, "transform"), lambda y: evaluate(y, "inverse")


LIBRARIES = {"flowlab": flowlab, "zuko": zuko_, "nflows": nflows, "flowjax": flowjax}
SIZES = {"flowjax": 3 * BINS + 1}  # its slopes at the ends of the box are learned too


def blocks(size: int, points: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Raw parameters and points, some at a time."""
    numbers = torch.Generator().manual_seed(0)
    for _ in range(max(1, points // BLOCK)):
        count = min(BLOCK, points)
        raw = 3 * torch.randn(count, size, generator=numbers)
        yield raw, BOUND * (2 * torch.rand(count, generator=numbers) - 1)


def largest_error(calls: Sequence[Callable[[torch.Tensor], torch.Tensor]], given: torch.Tensor) -> float:
    """The largest difference of points from the results of functions one after another."""
    result = given
    try:
        for call in calls:
            result = call(result)
    except AssertionError:  # of nflows, where rounding makes a discriminant negative
        return float("inf")
    return float((result - given).abs().nan_to_num(torch.inf).max())


def measure(name: str, points: int) -> tuple[float, float, float]:
    """The largest error of y, of x, and of the rounding of x."""
    largest = np.zeros(3)
    for raw, given in blocks(SIZES.get(name, 3 * BINS - 1), points):
        forward, inverse = LIBRARIES[name](raw)
        exact, exact_inverse = LIBRARIES[name](raw.double())
        errors = [
            largest_error([inverse, forward], given),
            largest_error([forward, inverse], given),
            largest_error([torch.Tensor.double, exact_inverse, torch.Tensor.float, torch.Tensor.double, exact], given),
        ]
        largest = np.maximum(largest, errors)
    of_y, of_x, rounding = largest.tolist()
    return of_y, of_x, rounding


def main(points: int = 1_000_000) -> None:
    print(f"{points} points, {BINS} bins, box [-{BOUND:g}, {BOUND:g}]")
    print(f"{'':8} {'of y':>8} {'of x':>8} {'rounding':>8}")
    found = {}
    for name in LIBRARIES:
        found[name] = measure(name, points)
        print(f"{name:8} " + " ".join(f"{error:8.1e}" for error in found[name]), flush=True)
    for name, (of_y, *_) in found.items():
        print(f"ratio: {of_y:.1e}  largest back error over y, {name}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
