"""Time of both directions of an autoregressive layer by dimension.

    python experiments/benchmarks/autoregressive_sides.py [--dims 2 4 ... 128] [--repeat 61] [--record PATH]

One thread, float32, 256 points. A layer has an affine map and one hidden layer of 128 units, with weights from
N(0, 1/inputs). `fast` is one pass of the network: the density of MAF, or a sample of IAF. `slow` is the other direction
by d passes, a coordinate at a time. `stops early` is the same direction by fixed-point iteration, as flowlab takes it.
Seconds are of the processor, so other programs disturb them little. It takes half a minute on an idle machine.
`--record experiments/results/autoregressive_sides` also writes the table and its provenance, as PATH.csv and PATH.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import pandas
import torch
from torch import Tensor

from flowlab.bijectors import MaskedAutoregressive
from flowlab.bijectors.maps import Affine
from flowlab.networks import MaskedMLP
from flowlab.seeding import generator
from flowlab.system.files import write_json, write_text
from flowlab.system.process import origin, set_threads

DIMS = [2, 4, 8, 16, 32, 64, 128]
POINTS, HIDDEN, SEED = 256, 128, 0


def build_layer(dim: int) -> MaskedAutoregressive:
    """A layer whose weights, the last included, are drawn from N(0, 1/inputs)."""
    network = MaskedMLP(dim, Affine().size, [HIDDEN])
    draw = generator(SEED, "weights", dim)
    with torch.no_grad():
        for weight in network.weights:
            weight.normal_(0, weight.shape[1] ** -0.5, generator=draw)
    return MaskedAutoregressive(network, Affine())


def solve_by_passes(layer: MaskedAutoregressive, x: Tensor) -> Tensor:
    """The slow direction by d passes of the network: each makes one more coordinate exact."""
    y = x
    for _ in range(layer.forward_passes):
        y, _ = layer.map.forward_and_log_det(x, layer.conditioner(y))
    return y


def seconds_of(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def measure(dim: int, repeat: int) -> list[dict[str, object]]:
    """A row for each side; the two ways of the slow direction must agree."""
    layer, x = build_layer(dim), torch.randn(POINTS, dim, generator=generator(SEED, "points", dim))
    torch.testing.assert_close(layer.forward(x), solve_by_passes(layer, x), rtol=1e-4, atol=1e-4)
    sides: dict[str, Callable[[], object]] = {
        "fast": lambda: layer.inverse(x),
        "slow": lambda: solve_by_passes(layer, x),
        "stops early": lambda: layer.forward(x),
    }
    taken: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(repeat):
        for side, work in sides.items():
            taken[side].append(seconds_of(work))
    rows: list[dict[str, object]] = []
    for side, seconds in taken.items():
        times = pandas.Series(seconds)
        quartiles = times.quantile([0.5, 0.25, 0.75])
        numbers = dict(zip(("median_seconds", "lower_quartile", "upper_quartile"), quartiles, strict=True))
        rows.append({"side": side, "dim": dim, "repeat": repeat, **numbers})
    return rows


def record(path: Path, table: pandas.DataFrame) -> None:
    """Write the times to PATH.csv, and their provenance to PATH.json."""
    source = origin()
    content = {"points": POINTS, "hidden": HIDDEN, "dtype": "float32", "threads": 1, "seed": SEED, **source}
    content["command"] = [Path(word).name if Path(word).is_absolute() else word for word in source["command"]]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(Path(f"{path}.csv"), table.to_csv(index=False, lineterminator="\n", float_format="%.4g"))
    write_json(Path(f"{path}.json"), content)
    print(f"wrote {path}.csv and {path}.json")


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds of both directions of an autoregressive layer by dimension.")
    parser.add_argument("--dims", type=int, nargs="+", default=DIMS)
    parser.add_argument("--repeat", type=int, default=61, help="times that each is measured, in turn")
    parser.add_argument("--record", metavar="PATH", type=Path, help="also write PATH.csv and PATH.json")
    options = parser.parse_args()
    with set_threads(1), torch.no_grad():
        table = pandas.DataFrame([row for dim in options.dims for row in measure(dim, options.repeat)])
    wide = 1e3 * table.pivot_table(index="dim", columns="side", values="median_seconds", sort=False)
    print(f"median milliseconds for {POINTS} points\n{wide.round(3).to_string()}")
    if options.record:
        record(options.record, table)


if __name__ == "__main__":
    main()
