"""Seconds from the start of a process to the test NLL that Jang's notebook reaches after 60 000 steps.

    python experiments/benchmarks/time_to_quality.py [--seeds 5] [--nll 4.389] [--cap 100000]

Both sides model Jang's banana, each in a fresh process, in turn, one pair a seed. flowlab's side is the command
`experiments/train.py experiment=banana seed=...` with its defaults. metrics.csv has the nll of 10 000 held-out points
every 200 steps. The clock stops at the first row with an nll of at most 4.389 nats, and the run is interrupted. TFP on
JAX follows Jang's recipe in peer_tfp_jax.py; its NLL of 10 000 points is computed every 1000 steps.

A run of Jang's recipe that never gets there, or becomes NaN, trains to the cap and counts with the seconds of all its
steps. A run of flowlab that never gets there counts as infinite. The table splits the seconds into parts. The last line
is `ratio: R`: the median time of flowlab over TFP on JAX. The script takes about 4 minutes and needs the packages of
`make bench`.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

TRAIN = str(Path(__file__).parent.parent / "train.py")
PEER = str(Path(__file__).with_name("peer_tfp_jax.py"))
LOOK_EVERY = 0.005  # seconds
FLOWLAB, TFP = "flowlab", "TFP on JAX"


def flowlab(seed: int, low_enough: float, more: list[str]) -> dict[str, float]:
    """Seconds until a run has a row with a low enough NLL, and their parts.

    Arguments:
        seed: of the run.
        low_enough: NLL in nats.
        more: words for the command line.

    Raises:
        SystemExit: the run failed.
    """
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / "run"
        words = ["experiment=banana", f"seed={seed}", f"hydra.run.dir='{directory}'", *more]
        command = [sys.executable, TRAIN, *words]
        begun = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
            while not (directory / "config.yaml").exists() and run.poll() is None:
                time.sleep(LOOK_EVERY)
            until_begun = time.perf_counter() - begun
            while (row := good_row(directory / "metrics.csv", low_enough)) is None and run.poll() is None:
                time.sleep(LOOK_EVERY)
            seconds = time.perf_counter() - begun
            run.send_signal(signal.SIGINT)
            _, errors = run.communicate()
            if row is None and run.returncode:
                sys.exit(f"flowlab: exit status {run.returncode}\n{errors}")
    if row is None:
        return {"seconds": math.inf, "begun": until_begun, "training": math.nan, "steps": math.nan, "nll": math.nan}
    training, step, nll = row["seconds"], row["step"], row["nll"]
    return {"seconds": seconds, "begun": until_begun, "training": training, "steps": step, "nll": nll}


def good_row(path: Path, low_enough: float) -> dict[str, float] | None:
    """The first complete row of metrics.csv with a low enough NLL, if there is one yet."""
    if not path.exists():
        return None
    lines = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    for row in csv.DictReader(lines):
        if row["nll"] and float(row["nll"]) <= low_enough:
            return {name: float(number) for name, number in row.items() if number}
    return None


def tfp_on_jax(seed: int, low_enough: float, cap: int) -> dict[str, float]:
    """The seconds until Jang's recipe reaches the NLL or the cap, and its step and NLL then."""
    command = [
        sys.executable,
        PEER,
        "quality",
        "--one-core",
        "--seed",
        str(seed),
        "--nll",
        str(low_enough),
        "--cap",
        str(cap),
    ]
    begun, lines = time.perf_counter(), []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdout
        for line in peer.stdout:
            lines.append(json.loads(line) | {"seconds": time.perf_counter() - begun})
    if peer.returncode:
        sys.exit(f"TFP on JAX: exit status {peer.returncode}")
    return {"steps": lines[-1]["step"], "first": lines[0]["seconds"], **lines[-1]}


def report(ours: pandas.DataFrame, theirs: pandas.DataFrame, low_enough: float) -> None:
    """Print the seconds of both sides and of their parts."""
    rest = ours["seconds"] - ours["begun"] - ours["training"]
    rows = {
        FLOWLAB: ours["seconds"],
        "  of it, until there is a run directory: imports": ours["begun"],
        "  steps": ours["training"],
        "  the rest: building, validations": rest,
        TFP: theirs["seconds"],
        "  of it, to the end of the first 1000 steps": theirs["first"],
    }
    table = Table(box=SIMPLE_HEAD, title=f"until the NLL is at most {low_enough} nats", title_justify="left")
    for name in ("", "median seconds", "least", "greatest"):
        table.add_column(name, justify="right" if name else "left")
    for name, taken in rows.items():
        table.add_row(name, *(f"{number:.2f}" for number in (taken.median(), taken.min(), taken.max())))
    Console(width=100).print(table)
    for name, side in ((FLOWLAB, ours), (TFP, theirs)):
        steps = ", ".join(f"{step:.0f}" for step in side["steps"])
        reached = int((side["nll"] <= low_enough).sum())
        print(f"{name}: {reached} of {len(side)} starts got there; steps: {steps}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds from the start of a process to a given test NLL.")
    parser.add_argument("--seeds", type=int, default=5, help="starts of each side, in turn")
    parser.add_argument("--nll", type=float, default=4.389, help="nats; the best that Jang's notebook prints")
    parser.add_argument("--cap", type=int, default=100_000, help="steps of Jang's recipe")
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE", help="for flowlab's command line")
    options = parser.parse_args()
    ours, theirs = [], []
    for seed in range(options.seeds):
        ours.append(flowlab(seed, options.nll, options.words))
        theirs.append(tfp_on_jax(seed, options.nll, options.cap))
    sides = pandas.DataFrame(ours), pandas.DataFrame(theirs)
    report(*sides, options.nll)
    print(f"ratio: {sides[0]['seconds'].median() / sides[1]['seconds'].median():.3f}  {FLOWLAB} over {TFP}")


if __name__ == "__main__":
    main()
