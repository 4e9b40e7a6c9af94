"""Seeded faults, one after another, each of which the tests must catch: `make mutants`.

Each is made in a copy of the tree, where the tests that must fail of it run. The last line is `caught: N of N`. Exit
status: 0 all are caught, 1 some are not, or the tests fail without any, 2 the list is wrong, 130 interrupted.
"""

import argparse
import os
import queue
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mutants.mutant import LIST, Mutant, load
from mutants.trial import ENVIRONMENT, PATIENCE, attempt, copy_of_the_tree, kill, run_tests, running

RESULTS = Path(__file__).with_name("RESULTS.md")

Outcome = tuple[bool, str]  # whether it was caught, and by which test or why not


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("mutants", description="Seeded faults, each of which the tests must catch.")
    parser.add_argument("--list", type=Path, default=LIST, help="of the mutants")
    parser.add_argument("--only", default="", metavar="TEXT", help="those alone whose name or file holds it")
    parser.add_argument("--record", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--processes", type=int, default=2, help="so many mutants at once")
    options = parser.parse_args(arguments)
    if options.record and (options.only or options.list != LIST):
        parser.error("--record: is of the whole list")
    mutants = [each for each in load(options.list) if options.only in f"{each.name} {each.file}"]
    if wrong := [problem for mutant in mutants if (problem := mutant.problem())]:
        print(*wrong, sep="\n", file=sys.stderr)
        return 2
    os.environ.update(ENVIRONMENT)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="flowlab-mutants-") as directory:
        try:
            outcomes = try_all(mutants, Path(directory).resolve(), options.processes)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
    if outcomes is None:
        return 1
    last = f"caught: {sum(caught for caught, _ in outcomes)} of {len(mutants)}"
    if options.record:
        write_record(mutants, outcomes, last)
    print(last)
    return 0 if all(caught for caught, _ in outcomes) else 1


def try_all(mutants: list[Mutant], directory: Path, processes: int) -> list[Outcome] | None:
    """Try mutants in copies below a directory, and print a line for each; None where the tests fail without any."""
    copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
    trees = [copy_of_the_tree(directory / str(number) / "tree") for number in range(processes)]
    tests = list(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
    shares = [share for number in range(processes) if (share := tests[number::processes])]
    pool, outcomes = ThreadPoolExecutor(processes), []
    futures = [pool.submit(run_tests, tree, share, 10 * PATIENCE) for tree, share in zip(trees, shares, strict=False)]
    try:
        for status, lines in [future.result() for future in futures]:
            if status != 0:
                print(*lines, "the tests do not pass without any mutant: it says nothing if they fail", sep="\n")
                return None
        for tree in trees:
            copies.put(tree)
        futures = [pool.submit(attempt, mutant, copies) for mutant in mutants]
        for number, (mutant, future) in enumerate(zip(mutants, futures, strict=True), start=1):
            caught, word, seconds = future.result()
            outcomes.append((caught, word))
            told = f"by {word}" if caught else f"NOT CAUGHT: {word}"
            print(f"{number:3} {seconds:5.1f} s  {mutant.file}: {mutant.name}; {told}", flush=True)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        while not all(future.done() for future in futures):  # where this was interrupted
            for process in list(running):
                kill(process)
            time.sleep(0.05)
    return outcomes


def write_record(mutants: list[Mutant], outcomes: list[Outcome], last: str) -> None:
    """Write what became of the mutants as a table, with the commit and the date."""
    from flowlab.runs.provenance import origin

    of = origin()
    commit = f"{of['git_commit']}{' with changes' if of['git_dirty'] else ''}, {of['time'][:10]}"
    lines = [
        "# Seeded faults\n",
        "Written by `make mutants RECORD=1`. Each is made in a copy of the code, where the tests that `mutants.toml`",
        f"names must fail of it. Commit {commit}, Python {of['python']}, torch {of['packages']['torch']}.\n",
        f"**{last}**\n",
        "| what is wrong | where | caught by |",
        "|---|---|---|",
    ]
    for mutant, (caught, word) in zip(mutants, outcomes, strict=True):
        lines.append(f"| {mutant.name} | `{mutant.file}` | {f'`{word}`' if caught else f'**not caught**: {word}'} |")
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
