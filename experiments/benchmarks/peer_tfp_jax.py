"""TFP on JAX as the other side of a benchmark: Jang's flow and recipe, in its own process.

    python experiments/benchmarks/peer_tfp_jax.py turns       # a line of JSON in, a line of JSON out
    python experiments/benchmarks/peer_tfp_jax.py quality --one-core --seed 0 --nll 4.389 --cap 100000

Six affine maps with hard PReLUs between, on Jang's banana; 512 fresh points a step; Adam at a constant rate of 1e-3.
One `lax.scan` holds the steps and draws the minibatches; it is compiled once. XLA uses a thread for each core;
`--one-core` keeps the process to one, which makes a step this small faster. The script needs the packages of `make
bench`.

`turns` reads {"parameters": ..., "points": ...}, writes {"loss": nats} and starts from those parameters. It reads
{"steps": n}, trains so many steps and writes {"seconds": s, "loss": nats}. `quality` prints {"step": n, "nll": nats}
every 1000 steps from its own initialization, until the NLL of 10 000 points is low enough or the cap is reached. A run
that becomes NaN continues, since a scan cannot stop early.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from functools import partial
from typing import Any

if "--one-core" in sys.argv:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # XLA counts its cores while it is imported

import jax
import jax.numpy as jnp
import optax
from tensorflow_probability.substrates import jax as tfp

DEPTH, DIM, RANK, BATCH = 6, 2, 2, 512
RATE = 1e-3
CHUNK, TEST_POINTS = 1000, 10_000
LINALG = tfp.tf2jax.linalg

Layer = dict[str, jax.Array]  # scale, packed; factor; shift; and, except in the last, slope
State = tuple[list[Layer], Any]  # the layers, and the state of Adam


class PReLU(tfp.bijectors.Bijector):
    """y = x where x >= 0, slope x elsewhere."""

    def __init__(self, slope: jax.Array) -> None:
        super().__init__(forward_min_event_ndims=0, parameters={"slope": slope}, name="prelu")
        self.slope = slope

    def _forward(self, x: jax.Array) -> jax.Array:
        return jnp.where(x >= 0, x, self.slope * x)

    def _inverse(self, y: jax.Array) -> jax.Array:
        return jnp.where(y >= 0, y, y / self.slope)

    def _inverse_log_det_jacobian(self, y: jax.Array) -> jax.Array:
        return jnp.where(y >= 0, 0.0, -jnp.log(self.slope))


def flow(layers: list[Layer]) -> Any:
    """The flow as a distribution."""
    parts = []
    for layer in layers:
        triangle = LINALG.LinearOperatorLowerTriangular(tfp.bijectors.FillTriangular()(layer["scale"]))
        matrix = LINALG.LinearOperatorLowRankUpdate(triangle, u=layer["factor"])
        parts.append(tfp.bijectors.Shift(layer["shift"])(tfp.bijectors.ScaleMatvecLinearOperator(matrix)))
        if "slope" in layer:
            parts.append(PReLU(jnp.abs(layer["slope"]) + 0.01))
    base = tfp.distributions.MultivariateNormalDiag(jnp.zeros(DIM))
    return tfp.distributions.TransformedDistribution(base, tfp.bijectors.Chain(parts[::-1]))


@jax.jit
def nll(layers: list[Layer], points: jax.Array) -> jax.Array:
    """Average NLL in nats of points of shape (n, 2)."""
    return -jnp.mean(flow(layers).log_prob(points))


def banana(key: jax.Array, count: int) -> jax.Array:
    """Points of Jang's banana, of shape (count, 2)."""
    first, second = jax.random.normal(key, (2, count))
    x2 = 4.0 * second
    return jnp.stack([0.25 * x2**2 + first, x2], axis=-1)


def glorot_uniform(key: jax.Array) -> list[Layer]:
    """Return the initialization of Jang's tutorial, as `flowlab.flows.mlp.glorot_uniform_` does."""
    shapes = {"scale": (DIM * (DIM + 1) // 2,), "factor": (DIM, RANK), "shift": (DIM,), "slope": ()}
    layers = []
    for layer_key in jax.random.split(key, DEPTH):
        keys = jax.random.split(layer_key, len(shapes))
        layer = {}
        for part_key, (name, shape) in zip(keys, shapes.items(), strict=True):
            fans = shape if len(shape) == 2 else (shape or (1,)) * 2
            limit = (6.0 / sum(fans)) ** 0.5
            layer[name] = jax.random.uniform(part_key, shape, minval=-limit, maxval=limit)
        layers.append(layer)
    del layers[-1]["slope"]
    return layers


OPTIMIZER = optax.adam(RATE)


@partial(jax.jit, static_argnames="steps")
def train(state: State, key: jax.Array, steps: int) -> tuple[State, jax.Array]:
    """The state after a number of steps, and the losses, of shape (steps,)."""

    def step(state: State, key: jax.Array) -> tuple[State, jax.Array]:
        layers, moments = state
        loss, gradient = jax.value_and_grad(nll)(layers, banana(key, BATCH))
        update, moments = OPTIMIZER.update(gradient, moments)
        return (optax.apply_updates(layers, update), moments), loss

    return jax.lax.scan(step, state, jax.random.split(key, steps))


def say(**content: float) -> None:
    print(json.dumps(content), flush=True)


def turns() -> None:
    """Train for the number of steps in each line of stdin."""
    asked = json.loads(sys.stdin.readline())
    layers = [{name: jnp.asarray(value, jnp.float32) for name, value in layer.items()} for layer in asked["parameters"]]
    say(loss=float(nll(layers, jnp.asarray(asked["points"], jnp.float32))))
    state, key = (layers, OPTIMIZER.init(layers)), jax.random.key(0)
    for line in sys.stdin:
        steps = json.loads(line)["steps"]
        begun = time.perf_counter()
        key, drawn = jax.random.split(key)
        state, losses = jax.block_until_ready(train(state, drawn, steps))
        say(seconds=time.perf_counter() - begun, loss=float(losses[-1]))


def quality(seed: int, low_enough: float, cap: int) -> None:
    """Train from its own initialization until the NLL is low enough, or for `cap` steps."""
    start, key, test = jax.random.split(jax.random.key(seed), 3)
    points = banana(test, TEST_POINTS)
    layers = glorot_uniform(start)
    state = layers, OPTIMIZER.init(layers)
    for done in range(CHUNK, cap + 1, CHUNK):
        key, drawn = jax.random.split(key)
        state, _ = train(state, drawn, CHUNK)
        reached = float(nll(state[0], points))
        say(step=done, nll=reached)
        if reached <= low_enough:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description="The flow of Jang's tutorial by TFP on JAX.")
    modes = parser.add_subparsers(dest="mode", required=True)
    by_turns = modes.add_parser("turns")
    until = modes.add_parser("quality")
    until.add_argument("--seed", type=int, default=0)
    until.add_argument("--nll", type=float, default=4.389, help="nats")
    until.add_argument("--cap", type=int, default=100_000, help="steps")
    for mode in (by_turns, until):
        mode.add_argument("--one-core", action="store_true", help="read above, before JAX is imported")
    options = parser.parse_args()
    if options.mode == "turns":
        turns()
    else:
        quality(options.seed, options.nll, options.cap)


if __name__ == "__main__":
    main()
