"""Check that the tests catch every mutant: `make mutants`.

Each mutant is made in a copy of the repository, where the tests of its module run. The last line is `caught: N of N`.
The exit status is 1 if a patch survives or the tests fail without a mutant, else 0, even if operators have survivors.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mutants.patches import PATCHES, find_target
from mutants.table import SEED, modules_to_mutate, select_tests
from mutants.trial import ENVIRONMENT, FORKS, LIBRARIES, Trial, copy_tree, find_slow, judge, run_trials

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).with_name("RESULTS.md")
FAIL_ALONE = "the tests fail without a mutant:"


def main() -> int:
    parser = argparse.ArgumentParser("mutants", description="Check that the tests catch every mutant.")
    parser.add_argument("--operators", metavar="PYTHON", help="an interpreter with cosmic-ray; without it only patches")
    parser.add_argument("--only", default="", metavar="TEXT", help="only mutants whose file or name holds this text")
    parser.add_argument("--record", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--processes", type=int, default=2, help="how many mutants run at once")
    options = parser.parse_args()
    if options.record and (options.only or not options.operators):
        parser.error("--record: needs all mutants; leave out --only, and give --operators")
    trials = [*make_patched(), *(make_operated(options.operators) if options.operators else [])]
    trials = [trial for trial in trials if options.only in f"{trial.file} {trial.name}"]
    os.environ.update(ENVIRONMENT)
    FORKS.set_forkserver_preload(LIBRARIES)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    lines = try_all(ROOT, trials, options.processes)
    print(*lines, sep="\n")
    if options.record:
        commit = ["git", "-C", ROOT, "log", "-1", "--format=Commit %h, %cs."]
        head = "# Mutants\n\nWritten by `make mutants RECORD=1`. " + subprocess.check_output(commit, text=True)
        RESULTS.write_text(head + "".join(f"\n- {line}" for line in lines) + "\n", encoding="utf-8")
    return any(line.startswith(FAIL_ALONE) or f": {name}: " in line for line in lines for name in PATCHES)


def make_patched() -> list[Trial]:
    """Return a mutant for each patch: the file of its function with one call added at the end."""
    trials = []
    for name, (anchor, _, *tests) in PATCHES.items():
        module, qualified = find_target(anchor)
        file = Path(sys.modules[module].__file__ or "").resolve().relative_to(ROOT).as_posix()
        call = f"\n__import__('mutants.patches').patches.apply_patch({name!r}, {qualified!r}, globals())\n"
        source = (ROOT / file).read_text(encoding="utf-8") + call
        trials.append(Trial(tuple(tests) or select_tests(ROOT, file), file, name, source))
    return trials


def make_operated(python: str) -> list[Trial]:
    """Return the sampled mutants of cosmic-ray's operators."""
    request = json.dumps({"seed": SEED, "modules": modules_to_mutate(ROOT)})
    command = [python, Path(__file__).with_name("operators.py")]
    made = json.loads(subprocess.check_output(command, cwd=ROOT, input=request, text=True))
    return [Trial(select_tests(ROOT, mutant["file"]), **mutant) for mutant in made]


def try_all(root: Path, trials: Sequence[Trial], processes: int, patience: float = 15) -> list[str]:
    """Try mutants in copies of a tree, and print a line for each.

    Arguments:
        patience: the tests of a mutant may take this many seconds plus three times their time without it.

    Returns:
        A line for each survivor, a line for tests that fail without a mutant, and the count as the last line.
    """
    caught, survivors = 0, []
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        copies = [copy_tree(root, Path(directory).resolve() / str(n) / "tree") for n in range(processes)]
        limits = {}
        for clean, status, wrote in run_trials(copies, [Trial(tests) for tests in {t.tests: 0 for t in trials}]):
            if status != 0:
                print((wrote / "printed").read_text())
                survivors.append(f"{FAIL_ALONE} {' '.join(clean.tests)}")
                continue
            elapsed, seconds = json.loads((wrote / "seconds").read_text())
            slow = find_slow(seconds)
            limits[clean.tests] = {"seconds": patience + 3 * elapsed, "slow": slow}
            print(f"{elapsed:.0f} s, {len(slow)} slow:", *clean.tests, flush=True)
        ready = [replace(trial, **limits[trial.tests]) for trial in trials if trial.tests in limits]
        for trial, status, wrote in run_trials(copies, ready):
            is_caught, word = judge(trial, status, (wrote / "printed").read_text(errors="replace"))
            line = f"{trial.file}: {trial.name}: {word}"
            print("caught  " if is_caught else "SURVIVED", line, flush=True)
            caught += is_caught
            survivors += [] if is_caught else [line]
    return [*sorted(survivors), f"caught: {caught} of {len(trials)}"]


if __name__ == "__main__":
    sys.exit(main())
