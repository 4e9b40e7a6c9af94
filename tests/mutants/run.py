"""Mutants, one after another, each of which the tests should catch: `make mutants`.

Each is made in a copy of the tree, where the tests of its module run. The last line is `caught: N of N`. Exit status: 0
for a complete run, with survivors or without; 1 if a patch survives or the tests fail without a mutant; 2 if a patch
names a function that is gone; 130 when interrupted.
"""

import argparse
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mutants.patches import PATCHES, find_target
from mutants.table import SEED, modules_to_mutate, select_tests
from mutants.trial import (
    ENVIRONMENT,
    FORKS,
    IMPORTED_BEFORE,
    Mutant,
    Tests,
    copy_tree,
    kill,
    measure_tests,
    running,
    try_mutant,
)

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).with_name("RESULTS.md")

Trial = tuple[Mutant, tuple[str, ...]]  # a mutant and pytest's arguments for its tests
Outcome = tuple[bool, str]  # whether it was caught, and by which test or why not


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("mutants", description="Mutants, each of which the tests should catch.")
    parser.add_argument("--operators", metavar="PYTHON", help="an interpreter with cosmic-ray; without it only patches")
    parser.add_argument("--only", default="", metavar="TEXT", help="only mutants whose file or name holds this text")
    parser.add_argument("--record", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--processes", type=int, default=2, help="how many mutants run at once")
    options = parser.parse_args(arguments)
    if options.record and (options.only or not options.operators):
        parser.error("--record: needs all mutants; leave out --only, and give --operators")
    try:
        trials = [*patched(), *(operated(options.operators) if options.operators else [])]
    except LookupError as error:
        print(error, file=sys.stderr)
        return 2
    trials = [trial for trial in trials if options.only in f"{trial[0].file} {trial[0].name}"]
    os.environ.update(ENVIRONMENT)
    FORKS.set_forkserver_preload(["pytest", *IMPORTED_BEFORE])
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        outcomes = try_all(ROOT, trials, options.processes)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    if outcomes is None:
        return 1
    lines = report(trials, outcomes)
    if options.record:
        write_record(lines)
    print(*lines, sep="\n")
    survived = {mutant.name for (mutant, _), (caught, _) in zip(trials, outcomes, strict=True) if not caught}
    return 1 if survived & set(PATCHES) else 0


def patched() -> list[Trial]:
    """Return a mutant for each patch: the file of its function with one line more.

    Raises:
        LookupError: a patch names a function that is gone.
    """
    trials = []
    for name, patch in PATCHES.items():
        module, qualified = find_target(patch.anchor)
        file = module.replace(".", "/") + ".py"
        path = ROOT / (file if (ROOT / file).is_file() else file.replace(".py", "/__init__.py"))
        line = f"\n\nfrom mutants.patches import apply_patch\n\napply_patch({name!r}, {qualified!r}, globals())\n"
        file = path.relative_to(ROOT).as_posix()
        source = path.read_text(encoding="utf-8") + line
        trials.append((Mutant(file, name, source), patch.tests or select_tests(ROOT, file)))
    return trials


def operated(python: str) -> list[Trial]:
    """Return the sampled mutants of cosmic-ray's operators."""
    request = json.dumps({"seed": SEED, "modules": modules_to_mutate(ROOT)})
    command = [python, Path(__file__).with_name("operators.py")]
    done = subprocess.run(command, cwd=ROOT, input=request, stdout=subprocess.PIPE, text=True, check=True)
    trials = []
    for each in json.loads(done.stdout):
        name = f"{each['function'] or 'module'}: {each['operator']}: line {each['line']}"
        trials.append((Mutant(each["file"], name, each["source"]), select_tests(ROOT, each["file"])))
    return trials


def try_all(root: Path, trials: Sequence[Trial], processes: int) -> list[Outcome] | None:
    """Try mutants in copies of a tree and print a line for each; None if the tests fail without any."""
    copies: queue.SimpleQueue[Path] = queue.SimpleQueue()

    def in_a_copy(work: Callable[..., Any], *arguments: Any) -> Any:
        copy = copies.get()
        try:
            return work(copy, *arguments)
        finally:
            copies.put(copy)

    futures: list[Future] = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        for number in range(processes):
            copies.put(copy_tree(root, Path(directory).resolve() / str(number) / "tree"))
        pool = ThreadPoolExecutor(processes)
        try:
            selections = list(dict.fromkeys(arguments for _, arguments in trials))
            futures = [pool.submit(in_a_copy, measure_tests, arguments) for arguments in selections]
            tests: dict[tuple[str, ...], Tests] = {}
            for arguments, future in zip(selections, futures, strict=True):
                measured, lines = future.result()
                if measured is None:
                    print(*lines, f"{' '.join(arguments)}: the tests fail without a mutant", sep="\n")
                    return None
                tests[arguments] = measured
            futures = [pool.submit(in_a_copy, try_mutant, mutant, tests[arguments]) for mutant, arguments in trials]
            for (mutant, _), future in zip(trials, futures, strict=True):
                caught, word = future.result()
                print(f"{'caught  ' if caught else 'SURVIVED'} {mutant.file}: {mutant.name}: {word}", flush=True)
            return [future.result() for future in futures]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            while not all(future.done() for future in futures):  # only when interrupted
                for process in list(running):
                    kill(process)
                time.sleep(0.05)


def report(trials: Sequence[Trial], outcomes: Sequence[Outcome]) -> list[str]:
    """Return a line for each survivor with file, function, operator and line, and a last line with the count."""
    both = zip(trials, outcomes, strict=True)
    lines = [f"{mutant.file}: {mutant.name}: {word}" for (mutant, _), (caught, word) in both if not caught]
    return [*sorted(lines), f"caught: {sum(caught for caught, _ in outcomes)} of {len(trials)}"]


def write_record(lines: list[str]) -> None:
    """Write the survivors and the count to RESULTS.md, with the commit and the date."""
    commit = subprocess.run(
        ["git", "log", "-1", "--format=%h, %cs"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    head = f"# Mutants\n\nWritten by `make mutants RECORD=1`. Commit {commit}, seed {SEED}. The survivors:\n\n"
    body = [f"- `{line}`" for line in lines[:-1]] + ["", f"**{lines[-1]}**"]
    RESULTS.write_text(head + "\n".join(body) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
