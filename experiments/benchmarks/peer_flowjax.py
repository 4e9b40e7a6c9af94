"""flowjax as the other side of modern_speed.py, in its own process.

    python experiments/benchmarks/peer_flowjax.py coupling spline 2 [--one-core]     # then lines of JSON: {"steps": n}

Eight layers, conditioners with one hidden layer of 50, splines of 8 bins, 512 fresh points a step, Adam, and all steps
in one `lax.scan`.
It answers {"seconds": s}. Each new number of steps is compiled once, before it is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

if "--one-core" in sys.argv:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # XLA counts its cores while it is imported

import equinox
import jax
import jax.numpy as jnp
import optax
import paramax
from flowjax.bijections import Affine, RationalQuadraticSpline
from flowjax.distributions import Normal
from flowjax.flows import coupling_flow, masked_autoregressive_flow

BATCH, BINS = 512, 8  # a spline has one inner knot less than bins
MAKERS = {"coupling": coupling_flow, "autoregressive": masked_autoregressive_flow}


def build(kind: str, map: str, dim: int, seed: int = 0) -> tuple[Any, Any]:
    """The trained arrays of a flow, and the rest of it."""
    transformer = Affine() if map == "affine" else RationalQuadraticSpline(knots=BINS - 1, interval=5)
    flow = MAKERS[kind](
        jax.random.key(seed),
        base_dist=paramax.non_trainable(Normal(jnp.zeros(dim))),
        transformer=transformer,
        flow_layers=8,
        nn_width=50,
        nn_depth=1,
    )
    return equinox.partition(
        flow, equinox.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable)
    )


def log_prob(parameters: Any, static: Any, points: jax.Array) -> jax.Array:
    """The log densities of a flow that `build` made."""
    return paramax.unwrap(equinox.combine(parameters, static)).log_prob(points)


def make_step(
    static: Any, optimizer: optax.GradientTransformation
) -> Callable[[Any, jax.Array], tuple[Any, jax.Array]]:
    """A step of maximum likelihood, for `lax.scan`: from (parameters, moments) and points to the next, and the loss."""

    def loss(parameters: Any, points: jax.Array) -> jax.Array:
        return -log_prob(parameters, static, points).mean()

    def step(state: Any, points: jax.Array) -> tuple[Any, jax.Array]:
        parameters, moments = state
        value, gradients = jax.value_and_grad(loss)(parameters, points)
        update, moments = optimizer.update(gradients, moments)
        return (optax.apply_updates(parameters, update), moments), value

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a flow of flowjax.")
    parser.add_argument("kind", choices=MAKERS)
    parser.add_argument("map", choices=["affine", "spline"])
    parser.add_argument("dim", type=int)
    parser.add_argument("--one-core", action="store_true")
    options = parser.parse_args()
    state, static = build(options.kind, options.map, options.dim)
    optimizer = optax.adam(1e-3)

    step = make_step(static, optimizer)

    @partial(jax.jit, static_argnames="steps")
    def train(state: Any, key: jax.Array, steps: int) -> tuple[Any, jax.Array]:
        def fresh(state: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            return step(state, jax.random.normal(key, (BATCH, options.dim)))

        return jax.lax.scan(fresh, state, jax.random.split(key, steps))

    full, compiled = (state, optimizer.init(state)), set[int]()
    for line in sys.stdin:
        steps = json.loads(line)["steps"]
        for _ in range(2 - (steps in compiled)):
            begun = time.perf_counter()
            full, _ = jax.block_until_ready(train(full, jax.random.key(steps), steps))
        compiled.add(steps)
        print(json.dumps({"seconds": time.perf_counter() - begun}), flush=True)


if __name__ == "__main__":
    main()
