"""The density of ten real tables by flowlab's default, by zuko's NSF and by flowjax's NSF, after equal seconds.

    python experiments/benchmarks/tabular_quality.py [--sets galaxies ...] [--seeds 3] [--directory DIR] [--record PATH]

flowlab trains `target=dataset` with no other option, and stops when it is done. Each peer then trains for as many
seconds, and for 30 at least, so its compilation does not decide. They are CPU seconds, and each side
has one thread, so a busy machine changes nothing. Compilation and validation count.

The peers have the sizes that they choose themselves: zuko 3 layers with networks of two hidden layers of 64, flowjax 8
layers with networks of 50; both are masked autoregressive, with splines of 8 bins on the box [-5, 5]. Both get
standardized columns, minibatches of 256 rows and Adam. The learning rate falls from 0.001 to 0 by half a cosine of the
seconds. Both keep the weights that were best on the validation rows, which they see 40 times. All sides have the same
rows in each split.

Nats are mean log densities of the test rows, of standardized columns; more is better. The error beside a difference is
over test rows, of the mean over seeds. The last line is `ratio: N`: on how many tables flowlab is better than both.
Results are kept in --directory, one file for each training, so the same command continues where it stopped. --record
writes the table to PATH.csv, and what it was measured with to PATH.json. The command needs the packages of `make
bench`, and the wheels of the tables, which it downloads once.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor

import flowlab
from flowlab.config.schema import Config
from flowlab.seeding import generator
from flowlab.system.files import read_json, write_json, write_text
from flowlab.system.process import origin
from flowlab.targets.base import SPLITS, Target

SETS = ("galaxies", "magic", "casp", "sp500", "sachs", "phoneme", "breast_cancer", "wine", "diabetes", "digits")
BATCH, LR, VALIDATIONS, LEAST_SECONDS = 256, 1e-3, 40, 30.0
BINS, BOUND = 8, 5.0


class Splits(NamedTuple):
    """Standardized rows of each split, of shape (n, d) in float32."""

    train: Tensor
    validation: Tensor
    test: Tensor


class Trained(NamedTuple):
    """What a side learned: log densities of the test rows, of shape (n,), the CPU seconds it took, and its steps."""

    log_prob: Tensor
    seconds: float
    steps: int


def compose(name: str, seed: int) -> Config:
    return flowlab.compose(
        "target=dataset", f"target.dataset={name}", "target.download=true", f"seed={seed}", "trainer.progress=off"
    )


def standardized(target: Target) -> tuple[Splits, float]:
    """The rows of each split, and the logarithm of the volume of a standardized unit in nats."""
    rows = {split: target.rows(split, 0, 0, torch.float64) for split in SPLITS}
    mean, spread = rows["train"].mean(0), rows["train"].std(0)
    return Splits(**{split: ((x - mean) / spread).float() for split, x in rows.items()}), float(spread.log().sum())


def cpu_seconds() -> float:
    """The CPU seconds of this process and of the compilers that it has started."""
    return sum(os.times()[:4])


class Clock:
    """The seconds of a training since now, as a fraction of its budget, and when it should look at validation rows."""

    def __init__(self, budget: float) -> None:
        self.begun, self.budget, self.looks = cpu_seconds(), budget, 0

    @property
    def seconds(self) -> float:
        return cpu_seconds() - self.begun

    @property
    def part(self) -> float:
        return min(self.seconds / self.budget, 1.0)

    @property
    def lr(self) -> float:
        return LR * (1 + math.cos(math.pi * self.part)) / 2

    def is_time_to_validate(self) -> bool:
        due = self.part * VALIDATIONS >= self.looks
        self.looks += due
        return due


def train_flowlab(name: str, seed: int, budget: float) -> Trained:
    begun = cpu_seconds()
    with tempfile.TemporaryDirectory() as directory:
        run = flowlab.train(compose(name, seed), directory)
        seconds, target = cpu_seconds() - begun, run.target
        _, unit = standardized(target)
        x = target.rows("test", 0, 0, torch.float64).to(next(run.flow.parameters()).dtype)
        with torch.no_grad():
            return Trained(run.flow.log_prob(x).double() + unit, seconds, run.result["steps"])


def train_zuko(name: str, seed: int, budget: float) -> Trained:
    from zuko.flows import NSF

    rows, _ = standardized(compose(name, seed).target.build())
    torch.manual_seed(seed)
    clock = Clock(budget)
    flow = NSF(rows.train.shape[1], bins=BINS, transforms=3, hidden_features=(64, 64))
    optimizer = torch.optim.Adam(flow.parameters(), lr=LR)
    draws, steps = generator(seed, "batches"), 0
    best, kept = -math.inf, flow.state_dict()
    while clock.part < 1:
        points = rows.train[torch.randint(len(rows.train), (BATCH,), generator=draws)]
        optimizer.param_groups[0]["lr"] = clock.lr
        loss = -flow().log_prob(points).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
        if clock.is_time_to_validate():
            with torch.no_grad():
                score = float(flow().log_prob(rows.validation).mean())
            if score > best:
                best, kept = score, {key: value.clone() for key, value in flow.state_dict().items()}
    flow.load_state_dict(kept)
    seconds = clock.seconds
    with torch.no_grad():
        return Trained(flow().log_prob(rows.test).double(), seconds, steps)


def train_flowjax(name: str, seed: int, budget: float) -> Trained:
    import jax
    import jax.numpy as jnp
    import optax
    import peer_flowjax

    rows, _ = standardized(compose(name, seed).target.build())
    clock = Clock(budget)
    state, static = peer_flowjax.build("autoregressive", "spline", rows.train.shape[1], seed)
    optimizer = optax.inject_hyperparams(optax.adam)(learning_rate=LR)
    step = peer_flowjax.make_step(static, optimizer)
    density = jax.jit(lambda parameters, x: peer_flowjax.log_prob(parameters, static, x))
    take = jax.jit(lambda state, points: jax.lax.scan(step, state, points))
    train, validation = jnp.asarray(rows.train.numpy()), jnp.asarray(rows.validation.numpy())
    draws, steps, chunk = generator(seed, "batches"), 0, 50
    full = (state, optimizer.init(state))
    best, kept = -math.inf, state
    while clock.part < 1:
        numbers = torch.randint(len(rows.train), (chunk, BATCH), generator=draws).numpy()
        full[1].hyperparams["learning_rate"] = jnp.asarray(clock.lr)
        full, _ = jax.block_until_ready(take(full, train[numbers]))
        steps += chunk
        if clock.is_time_to_validate():
            score = float(density(full[0], validation).mean())
            if score > best:
                best, kept = score, full[0]
    seconds = clock.seconds
    found = np.array(density(kept, jnp.asarray(rows.test.numpy())))
    return Trained(torch.from_numpy(found).double(), seconds, steps)


SIDES: dict[str, Callable[[str, int, float], Trained]] = {
    "flowlab": train_flowlab,
    "zuko": train_zuko,
    "flowjax": train_flowjax,
}


def train(name: str, side: str, seed: int, budget: float, path: Path) -> dict[str, Any]:
    """Train a side in a process of its own, unless its file is there; give what the file holds."""
    if not path.is_file():
        words = [sys.executable, __file__, "--train", name, side, str(seed), str(budget), str(path)]
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        limits = {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1", "XLA_FLAGS": flags}
        begun = time.perf_counter()
        subprocess.run(words, check=True, env=os.environ | limits)
        took = time.perf_counter() - begun
        print(f"{name} {side} seed {seed}: {_mean(read_json(path)):.3f}, {took:.0f} s", file=sys.stderr, flush=True)
    return read_json(path)


def _train_here(name: str, side: str, seed: str, budget: str, path: str) -> None:
    torch.set_num_threads(1)
    trained = SIDES[side](name, int(seed), float(budget))
    write_json(Path(path), trained._asdict() | {"log_prob": trained.log_prob.tolist()})


def _mean(result: dict[str, Any]) -> float:
    return float(np.mean(result["log_prob"]))


def compare(name: str, results: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """A row for each side: nats over seeds, and how far flowlab is ahead, with its error over test rows."""
    scores = {side: np.array([each["log_prob"] for each in of_seeds]) for side, of_seeds in results.items()}
    ours, rows = scores["flowlab"].mean(0), []
    for side, score in scores.items():
        ahead = ours - score.mean(0)
        row = {"table": name, "side": side, "seeds": len(score), "nats": score.mean()}
        row |= {"least": score.mean(1).min(), "most": score.mean(1).max(), "ahead": ahead.mean()}
        row |= {"error": ahead.std(ddof=1) / math.sqrt(len(ahead))}
        rows.append(row | {key: np.median([each[key] for each in results[side]]) for key in ("seconds", "steps")})
    return rows


def show(rows: pandas.DataFrame) -> None:
    table = Table(box=SIMPLE_HEAD, title="nats of test rows, of standardized columns", title_justify="left")
    for column in ("table", "", "mean", "over seeds", "flowlab ahead", "CPU seconds", "steps"):
        table.add_column(column, justify="left" if column in ("table", "") else "right")
    for row in rows.itertuples():
        spread, ahead = f"{row.least:.2f} to {row.most:.2f}", f"{row.ahead:+.2f} ± {row.error:.2f}"
        ahead = "" if row.side == "flowlab" else ahead
        table.add_row(row.table, row.side, f"{row.nats:.2f}", spread, ahead, f"{row.seconds:.0f}", f"{row.steps:.0f}")
    Console(width=110).print(table)


def write_record(rows: pandas.DataFrame, path: Path) -> None:
    """Write PATH.csv, a row for each table and side, and PATH.json, what they were measured with."""
    write_text(path.with_suffix(".csv"), rows.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
    peers = {name: version(name) for name in ("zuko", "flowjax", "jax")}
    content = origin() | {"command": ["experiments/benchmarks/tabular_quality.py"], "peers": peers}
    write_json(path.with_suffix(".json"), content)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Held-out log densities of real tables after equal seconds.")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS, metavar="SET", help=", ".join(SETS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--directory", type=Path, default=Path("runs/tabular_quality"))
    parser.add_argument("--record", type=Path, metavar="PATH", help="write PATH.csv and PATH.json")
    parser.add_argument("--train", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.train:
        return _train_here(*options.train)
    options.directory.mkdir(parents=True, exist_ok=True)
    found: list[dict[str, Any]] = []
    for name in options.sets:
        results: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
        for seed in range(options.seeds):
            budget = LEAST_SECONDS
            for side, of_seeds in results.items():
                of_seeds.append(train(name, side, seed, budget, options.directory / f"{name}_{side}_{seed}.json"))
                budget = max(budget, results["flowlab"][-1]["seconds"])
        found += compare(name, results)
    rows = pandas.DataFrame(found)
    show(rows)
    if options.record:
        write_record(rows, options.record)
    least_ahead = rows[rows["side"] != "flowlab"].groupby("table", sort=False)["ahead"].min()
    print(json.dumps({"better than both peers": list(least_ahead[least_ahead > 0].index)}))
    print(f"ratio: {(least_ahead > 0).sum()}  of {len(least_ahead)} tables on which flowlab is better than both peers")


if __name__ == "__main__":
    main()
