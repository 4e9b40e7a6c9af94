"""Response time of the command line, over the time to import torch.

    python experiments/benchmarks/startup.py [--repeat 11]

Whole commands, each a fresh process, in turn: `--help`, a mistyped option, and `import torch`, which every training has
to wait for. A first round loads the files into memory and is not counted. The last lines are `ratio: R`: the median
time of a command over the import.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import pandas
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

TRAIN = str(Path(__file__).parent.parent / "train.py")
TORCH = "import torch"
COMMANDS = {
    TORCH: (["-c", TORCH], 0),
    "flowlab-train --help": ([TRAIN, "--help"], 0),
    "flowlab-train optimizer.rl=0.1": ([TRAIN, "optimizer.rl=0.1"], 2),
}


def seconds_of(words: list[str], status: int) -> float:
    """Wall-clock seconds of a Python process with these arguments, which must end with this exit status."""
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    seconds = time.perf_counter() - begun
    if done.returncode != status:
        sys.exit(f"{' '.join(words)}: exit status {done.returncode}, expected {status}\n{done.stderr}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds that the command line takes to answer.")
    parser.add_argument("--repeat", type=int, default=11, help="times that each command is measured, in turn")
    options = parser.parse_args()
    rounds = [{name: seconds_of(*command) for name, command in COMMANDS.items()} for _ in range(options.repeat + 1)]
    seconds = pandas.DataFrame(rounds[1:])
    table = Table(box=SIMPLE_HEAD)
    for name in ("", "median seconds", "least", "greatest"):
        table.add_column(name, justify="right" if name else "left")
    for name, taken in seconds.items():
        table.add_row(str(name), *(f"{number:.3f}" for number in (taken.median(), taken.min(), taken.max())))
    Console(width=100).print(table)
    for name in list(COMMANDS)[1:]:
        print(f"ratio: {seconds[name].median() / seconds[TORCH].median():.2f}  {name} over {TORCH}")


if __name__ == "__main__":
    main()
