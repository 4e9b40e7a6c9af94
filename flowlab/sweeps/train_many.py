"""Train many configurations: stacked where their shapes allow, one by one where they do not."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, TypeVar

from flowlab.bijectors import stages
from flowlab.config.component import per_job_fields
from flowlab.config.errors import ConfigError
from flowlab.config.paths import local_path
from flowlab.config.schema import Config, RunConfig, check_again
from flowlab.distributed.world import resolve_device
from flowlab.flows._assemble import Costs, last_bijector
from flowlab.runs.directory import Run, with_absolute_paths
from flowlab.sweeps.manifest import check_same_data
from flowlab.sweeps.pool import run_pool
from flowlab.sweeps.stack import Member, Piece, mark_failed_if_running
from flowlab.system.display import build_display
from flowlab.targets.base import Target
from flowlab.training.build import Choice, Known, check, choose
from flowlab.training.resume import find_run

T = TypeVar("T")

# Receives the number of a piece of work and the steps that it has taken, or None when it has ended.
Receive = Callable[[int, int | None], None]
# Jobs, whether the step of their stack is compiled, and the places of those that are not trained.
Part = tuple[list[Member], Choice | None, frozenset[int]]
PLACES = 8  # in a compiled stack, at most: with more, the values of a step leave the cache


def train_many(
    configs: Sequence[Config],
    directories: Sequence[Path],
    group: str | None = None,
    processes: int = 1,
    memory_gb: float = 2.0,
    ended: Callable[[Run], None] = lambda run: None,
    say: Callable[[str], None] = print,
    fail_fast: bool = False,
) -> list[Run]:
    """Train every configuration into its own directory; a job that fails says so there and stops no other.

    A job that is done stays unchanged, and a job that was stopped resumes from its last checkpoint. Its numbers
    depend neither on the jobs beside it in a stack, nor on the number of processes. A compiled stack rounds by the
    place of a job among all jobs of its shape, which is the same when a sweep resumes.

    Arguments:
        configs: the jobs, in any mixture of shapes.
        directories: for each a directory that is new, empty, or its run's.
        group: the name of the sweep.
        processes: how many processes train at once; 1 stays in this process.
        memory_gb: the most that a stack may take, in gigabytes; a larger one is split.
        ended: called with every run that was worked on, when it has ended.
        say: receives a line on how the jobs are grouped.
        fail_fast: the first job that fails interrupts the others, which can resume; waiting ones do not begin.

    Raises:
        ConfigError: a configuration that cannot be run, or a directory that holds something else.
    """
    known: Known = {}
    members: list[Member] = []
    if isinstance(configs, Config) or isinstance(directories, str | Path) or len(configs) != len(directories):
        raise ConfigError("train_many: needs a list of configurations, and a list of as many directories")
    for directory, config in zip(directories, (check_again(config, "train_many") for config in configs), strict=True):
        place, config = Path(local_path("directory", directory)), with_absolute_paths(config)
        checked = check(config, known=known)
        run = find_run(place, config) or Run(place, checked.config)
        members.append(Member(run, checked.target, checked.costs))
    runs = [member.run for member in members]
    check_same_data(runs)
    for note in dict.fromkeys(note for member in members for note in member.target.notes):
        say(note)
    for member in members:
        member.target.notes = ()  # the jobs need not print them again
    waiting = [member for member in members if not member.run.done]
    planned = _plan(members, waiting, processes, memory_gb, say)
    pooled, in_turn = (
        [Piece(jobs, choice, group, fail_fast, ballast) for jobs, choice, ballast in some] for some in planned
    )
    pooled.sort(key=lambda piece: -piece.work)  # the longest first, so none works alone at the end
    pieces = [*pooled, *in_turn]
    sizes = [len(piece.trained) for piece in pieces]
    say(describe_groups(len(runs), sizes, len(runs) - len(waiting)))
    steps = [piece.config.max_steps for piece in pieces]
    stopped = contextlib.suppress(_SweepFailed)
    with show_sweep_progress(runs[0].config.trainer.progress, sizes, steps) as show, stopped:

        def receive(number: int, step: int | None) -> None:
            show(number, step)
            for member in pieces[number].trained if step is None else []:
                killed = RuntimeError("the process that trained it was killed; was the memory used up?")
                mark_failed_if_running(member.run, killed)
                ended(member.run)
            if fail_fast and step is None:
                failed = [m.run for m in pieces[number].trained if m.run.status.get("status") == "failed"]
                if failed:
                    say(f"{failed[0].directory}: failed, and hydra.launcher.fail_fast=true ends the sweep")
                    raise _SweepFailed

        if len(pooled) > 1:
            import flowlab.plotting  # noqa: F401  here once, and not in each process
        run_pool([piece.train for piece in pooled], min(processes, max(1, len(pooled))), receive)
        # Jobs with threads, processes or a GPU of their own: one at a time, and not in a fork.
        run_pool([piece.train for piece in in_turn], 1, lambda number, step: receive(len(pooled) + number, step))
    return runs


class _SweepFailed(Exception):
    """A job has failed, and the others should stop."""


def _plan(
    members: Sequence[Member],
    waiting: Sequence[Member],
    processes: int,
    memory_gb: float,
    say: Callable[[str], None],
) -> tuple[list[Part], list[Part]]:
    """The parts for a pool of processes, and those in turn."""
    pooled: list[Part] = []
    in_turn: list[Part] = []
    shapes: dict[str, list[Member]] = {}
    for number, member in enumerate(members):
        shapes.setdefault(stack_key(member.run.config, member.target) or f"alone {number}", []).append(member)
    for same in shapes.values():
        ready = [member for member in same if member in waiting]
        if not ready:
            continue
        config, trainer = ready[0].run.config, ready[0].run.config.trainer
        device = resolve_device(trainer.accelerator).type
        forkable = trainer.threads == 1 and device == "cpu"
        chosen = pooled if forkable and trainer.devices == 1 else in_turn
        if trainer.devices > 1 or len(same) == 1:
            chosen.extend(([member], None, frozenset()) for member in ready)
            continue
        most = max(1, int(memory_gb * 1e9) // bytes_of_job(config, ready[0].target, ready[0].costs))
        if len(ready) > most:
            say(f"at most {most} of the jobs of flow={config.flow.name} in a stack, to stay below {memory_gb:g} GB")
        choice = choose(trainer.compile, config.max_steps, device, bytes_of_steps(config, same[0].costs) * len(same))
        if choice.compiled:
            parts = _compiled_stacks(same, ready, min(most, PLACES))
            chosen.extend((part, choice, ballast) for part, ballast in parts)
        else:
            # Enough stacks for every process, but none of a single job, which is faster alone.
            share = min(-(-processes * len(ready) // len(waiting)), max(1, len(ready) // 2))
            chosen.extend((part, choice, frozenset()) for part in _stacks(ready, most, share))
    return pooled, in_turn


def _stacks(members: list[Member], largest: int, at_least: int) -> Iterator[list[Member]]:
    """Jobs of one shape as stacks: each of jobs at the same step, and no larger than the memory allows."""
    for _, same in groupby(sorted(members, key=_step), key=_step):
        yield from split_evenly(list(same), largest, at_least)


def _compiled_stacks(
    members: list[Member], ready: list[Member], largest: int
) -> Iterator[tuple[list[Member], frozenset[int]]]:
    """All jobs of one shape as stacks of one size, and the places of ballast in each.

    A compiled step rounds by the size of a stack and by the place of a job in it. So both follow from the jobs of the
    sweep alone. Jobs that are done, or at another step, stay in their places as ballast. Copies of the last job fill
    the last stack.
    """
    parts = split_evenly(members, largest, at_least=2 if len(members) > 3 else 1)
    size = max(map(len, parts))
    for part in parts:
        full = part + [part[-1]] * (size - len(part))
        waiting = {place: _step(member) for place, member in enumerate(part) if member in ready}
        for step in sorted(set(waiting.values())):
            yield full, frozenset(place for place in range(size) if waiting.get(place) != step)


def _step(member: Member) -> int:
    """The step from which a job resumes."""
    try:
        return member.run.checkpoint("last")["global_step"]
    except ConfigError:  # there is none yet; or it is damaged, which is reported when the run is opened
        return 0


def stack_key(config: Config, target: Target) -> str | None:
    """The shape of a job: jobs with equal keys differ in per-job settings alone, and can be trained as one stack.

    None where the architecture or the target says that it cannot be stacked. A loss without a density sees the target
    through its points alone, so there the target's settings do not count either.
    """
    if not (config.flow.stackable and target.stackable):
        return None
    shared: dict[str, Any] = config.to_dict()
    del shared["logger"]
    for name in per_job_fields(RunConfig):
        del shared[name]
    for group in ("target", "flow", "optimizer"):  # a stack has one loss, the first job's
        for name in per_job_fields(type(getattr(config, group))):
            del shared[group][name]
    if not config.objective.needs_density:
        units = last_bijector(target, config.objective.needs_density)
        shared["target"] = [type(stage).__name__ for stage in stages(units)] if units else None
    return json.dumps([shared, list(target.event_shape), target.context_shape], sort_keys=True, default=str)


def bytes_of_job(config: Config, target: Target, costs: Costs | None) -> int:
    """Memory that a job takes in a stack: its share of a step, its parameters twice, and its held-out points."""
    points = config.validation_size * target.dim * 8
    return points if costs is None else costs.of_step(config.batch_size) + 2 * costs.memory + points


def bytes_of_steps(config: Config, costs: Costs | None) -> float:
    """Bytes that all steps of a job go through."""
    return 0.0 if costs is None else float(costs.of_step(config.batch_size)) * config.max_steps


def split_evenly(jobs: Sequence[T], largest: int, at_least: int = 1) -> list[list[T]]:
    """Jobs in parts of nearly equal size, none above `largest`, and at least `at_least` parts if there are enough jobs.

    Example:
        >>> from flowlab.sweeps.train_many import split_evenly
        >>> split_evenly("abcdefg", largest=3)
        [['a', 'b', 'c'], ['d', 'e'], ['f', 'g']]
    """
    count = min(len(jobs), max(at_least, -(-len(jobs) // max(1, largest))))
    size, larger = divmod(len(jobs), count)
    ends = [number * size + min(number, larger) for number in range(count + 1)]
    return [list(jobs[begin:end]) for begin, end in pairwise(ends)]


def describe_groups(jobs: int, sizes: Sequence[int], done: int = 0) -> str:
    """How jobs are grouped, in words: their number, the size of each group to train, the number done already.

    Example:
        >>> from flowlab.sweeps.train_many import describe_groups
        >>> describe_groups(25, [8, 1], done=16)
        '25 jobs: 16 done already, 1 stack of 8, 1 alone'
    """
    words = [f"{done} done already"] if done else []
    for size, count in sorted(Counter(sizes).items(), reverse=True):
        words.append(f"{count} alone" if size == 1 else f"{count} stack{'s' if count > 1 else ''} of {size}")
    return f"{jobs} job{'s' if jobs > 1 else ''}: {', '.join(words)}"


@contextlib.contextmanager
def show_sweep_progress(kind: str, jobs: Sequence[int], steps: Sequence[int]) -> Iterator[Receive]:
    """Show the progress of a sweep: pieces of so many jobs, which end at so many steps; see `build_display`."""
    total = sum(count * last for count, last in zip(jobs, steps, strict=True))
    taken, ended = [0] * len(jobs), [False] * len(jobs)
    display = build_display(kind)

    def receive(piece: int, step: int | None) -> None:
        taken[piece] = steps[piece] if step is None else step
        ended[piece] = step is None
        done = sum(count * step for count, step in zip(jobs, taken, strict=True))
        runs = sum(count for count, over in zip(jobs, ended, strict=True) if over)
        display.update(done, f"{100 * done // total:>3}% of the steps, {runs} of {sum(jobs)} runs ended")

    display.start(0, total)
    try:
        yield receive
    finally:
        display.close()


def usable_processes() -> int:
    """How many cores this process may use; 1 where forks are not safe."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
