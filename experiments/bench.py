"""Run every benchmark and write BENCHMARKS.md: `python experiments/bench.py [NAME ...]`, or `make bench`.

Names, such as `startup training_speed`, select scripts of experiments/benchmarks/; their results are then only printed.
The file is written after the last script and marks failed scripts and missed goals. A failed script makes the exit
status 1. All benchmarks take some hours on an idle machine.
"""

from __future__ import annotations

import argparse
import operator
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

from flowlab.system.files import write_text
from flowlab.system.process import origin

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "experiments" / "benchmarks"
PACKAGES = ("torch", "jax", "tfp-nightly", "flowjax", "zuko", "nflows", "normflows", "numpy", "pytorch-lightning")
RATIO = re.compile(r"^ratio: (\S+) *(.*)$", re.MULTILINE)
BOUNDS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Benchmark:
    """A script and the goals of its ratios.

    Attributes:
        command: the file of the script and its arguments.
        goals: maps a part of a ratio's name to a bound, such as ">= 40"; the empty part matches every ratio.
        gpu: the script needs a GPU and is left out without one.
    """

    command: str
    goals: dict[str, str]
    gpu: bool = False


BENCHMARKS = (
    Benchmark("training_speed.py", {"": "<= 1.15"}),
    Benchmark("training_speed.py --peer tfp-jax", {"one lax.scan": "<= 0.7"}),
    Benchmark("time_to_quality.py", {"": "<= 0.25"}),
    Benchmark("low_rank_scaling.py", {"tril inverse": ">= 40", "diag inverse": ">= 1000"}),
    Benchmark("startup.py", {"": "<= 0.5"}),
    Benchmark("throughput.py", {"": ">= 1.0"}),
    Benchmark("sweep_throughput.py", {"": ">= 6"}),
    Benchmark("sweep_throughput.py --flow realnvp --runs 16", {"": ">= 4"}),
    Benchmark(
        "modern_speed.py",
        {
            "compiled over flowjax: mean": "<= 0.7",
            "compiled over flowjax: worst": "<= 1.0",
            "compiled over zuko: mean": "<= 0.25",
            "eager over zuko: mean": "<= 1.0",
        },
    ),
    Benchmark("modern_sampling.py", {"fixed point": ">= 2.5", "over flowlab": ">= 1.0"}),
    Benchmark("modern_quality.py", {"standard errors": "<= 2", "median KL": "<= 0.01"}),
    Benchmark("tabular_quality.py", {"": ">= 7"}),
    Benchmark("spline_precision.py", {"flowlab": "<= 1e-5"}),
    Benchmark("gpu.py", {}, gpu=True),
)


@dataclass(frozen=True)
class Ratio:
    """A line `ratio: R  name`, and its goal, if it has one."""

    shown: str
    what: str
    goal: str | None

    @property
    def met(self) -> bool:
        if self.goal is None:
            return True
        bound, value = self.goal.split()
        return BOUNDS[bound](float(self.shown), float(value))

    @property
    def verdict(self) -> str:
        return "reported" if self.goal is None else "met" if self.met else "**not met**"


@dataclass(frozen=True)
class Outcome:
    """The output of a script, its seconds, and its error, if it failed."""

    benchmark: str
    printed: str
    seconds: float
    ratios: list[Ratio]
    problem: str | None

    @property
    def took(self) -> str:
        return f"took {self.seconds:.0f} s" if self.seconds < 120 else f"took {self.seconds / 60:.0f} min"


def outcome_of(benchmark: Benchmark, printed: str, status: int, seconds: float) -> Outcome:
    """Parse the output of a finished script."""
    ratios = []
    for shown, what in RATIO.findall(printed):
        goals = [goal for part, goal in benchmark.goals.items() if part in what]
        ratios.append(Ratio(shown, what, goals[0] if goals else None))
    measured = [ratio.goal for ratio in ratios]
    missing = [goal for goal in benchmark.goals.values() if goal not in measured]
    problem = f"exit status {status}" if status else None
    if missing and not problem:
        problem = f"no ratio for the goal {missing[0]}"
    text = "\n".join(line.rstrip() for line in printed.splitlines()).strip("\n")
    return Outcome(benchmark.command, text, seconds, ratios, problem)


def run(benchmark: Benchmark) -> Outcome:
    """Run a script to its end; it inherits stderr."""
    name, *arguments = benchmark.command.split()
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, str(SCRIPTS / name), *arguments], stdout=subprocess.PIPE, text=True)
    return outcome_of(benchmark, done.stdout, done.returncode, time.perf_counter() - begun)


def machine() -> dict[str, Any]:
    """Return the hardware that the results depend on, without the host name."""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def processor(described: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor model on Linux, elsewhere the architecture."""
    found = re.search(r"^model name\s*: (.*)$", described.read_text(), re.MULTILINE) if described.is_file() else None
    return found[1].strip() if found else platform.machine()


def versions() -> dict[str, str | None]:
    """Return the version of each package that the results depend on; None for a missing package."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def page(outcomes: Sequence[Outcome], left_out: Sequence[str]) -> str:
    """Return the text of BENCHMARKS.md; `left_out` names the scripts that need a missing GPU."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(SCRIPTS / "templates"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = lambda text: text.replace("|", r"\|")
    return environment.get_template("benchmarks.md").render(
        outcomes=outcomes, left_out=left_out, origin=origin(), machine=machine(), versions=versions()
    )


def main(arguments: Sequence[str] | None = None) -> int:
    names = sorted({Path(benchmark.command.split()[0]).stem for benchmark in BENCHMARKS})
    parser = argparse.ArgumentParser("bench.py", description="Run the benchmarks and write BENCHMARKS.md.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(names)}")
    parser.add_argument("--output", metavar="FILE", type=Path, help="default: BENCHMARKS.md; of some NAMEs, none")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(names))
    if unknown:
        parser.error(f"{unknown[0]}: no such benchmark; there are {', '.join(names)}")
    outcomes: list[Outcome] = []
    left_out: list[str] = []
    for benchmark in BENCHMARKS:
        if options.names and Path(benchmark.command.split()[0]).stem not in options.names:
            continue
        if benchmark.gpu and not torch.cuda.is_available():
            left_out.append(benchmark.command)
            continue
        print(f"{benchmark.command} ...", flush=True)
        last = run(benchmark)
        outcomes.append(last)
        print(f"{last.printed}\n{'failed: ' + last.problem if last.problem else last.took}\n", flush=True)
    output = options.output or (None if options.names else ROOT / "BENCHMARKS.md")
    if output:
        write_text(output, page(outcomes, left_out))
        print(f"wrote {os.path.relpath(output)}")
    return int(any(outcome.problem for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
