"""Many runs of one shape: one by one through Hydra's basic launcher, over stacked.

    python experiments/benchmarks/sweep_throughput.py [--runs 32] [--steps 2000] [--repeat 1] [--flow realnvp]

Both sides run the whole sweep, from the start of Python to the table and the figures. The last line is `ratio: R`: the
median time one by one over the median time stacked.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from flowlab import load_sweep

TRAIN = Path(__file__).parent.parent / "train.py"
SIDES = {"one by one": "basic", "stacked": "stacked"}


def sweep(launcher: str, flow: str, runs: int, steps: int, directory: Path) -> float:
    """Wall-clock seconds of one sweep of the banana, over seeds."""
    command = [sys.executable, str(TRAIN), "-m", f"hydra/launcher={launcher}", f"seed=range({runs})", f"flow={flow}"]
    command += [f"max_steps={steps}", f"hydra.sweep.dir='{directory}'", "trainer.progress=off"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # flows this small are fastest so
    begun = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - begun
    if done.returncode:
        sys.exit(f"{launcher}: exit status {done.returncode}\n{done.stderr}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds for many runs of one shape, one by one and stacked.")
    parser.add_argument("--runs", type=int, default=32)
    parser.add_argument("--steps", type=int, default=2000, help="of each run")
    parser.add_argument("--flow", default="smooth_prelu", help="an architecture or preset of conf/flow")
    parser.add_argument("--repeat", type=int, default=1, help="times that each side is measured, in turn")
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    kl = {}
    for _ in range(options.repeat):
        for side, launcher in SIDES.items():
            with tempfile.TemporaryDirectory() as directory:
                seconds[side].append(
                    sweep(launcher, options.flow, options.runs, options.steps, Path(directory) / "sweep")
                )
                kl[side] = load_sweep(Path(directory) / "sweep")["kl"]
    table = Table(
        box=SIMPLE_HEAD, title=f"{options.runs} runs of {options.flow}, {options.steps} steps", title_justify="left"
    )
    for name in ("", "median seconds", "least", "greatest", "seconds a run", "median kl"):
        table.add_column(name, justify="right" if name else "left")
    for side, taken in seconds.items():
        median = statistics.median(taken)
        numbers = (median, min(taken), max(taken), median / options.runs)
        table.add_row(side, *(f"{number:.2f}" for number in numbers), f"{kl[side].median():.4f}")
    Console(width=100).print(table)
    one_by_one, stacked = (statistics.median(seconds[side]) for side in SIDES)
    print(f"ratio: {one_by_one / stacked:.2f}  {options.runs} runs of {options.flow} one by one over stacked")


if __name__ == "__main__":
    main()
