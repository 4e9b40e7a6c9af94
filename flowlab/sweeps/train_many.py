"""Train many configurations: stacked where their shapes allow, one by one where they do not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from flowlab.config.compose import to_config
from flowlab.config.errors import ConfigError
from flowlab.config.schema import Config
from flowlab.distributed.world import resolve_device
from flowlab.runs.begin import with_absolute_paths
from flowlab.runs.directory import Run
from flowlab.sweeps.data import check_same_data
from flowlab.sweeps.groups import bytes_of_job, describe_groups, split_evenly, stack_key
from flowlab.sweeps.pool import run_pool
from flowlab.sweeps.progress import show_sweep_progress
from flowlab.sweeps.stack import Member, Piece, mark_failed_if_running
from flowlab.training.build import Targets, check
from flowlab.training.train import find_run


def train_many(
    configs: Sequence[Config],
    directories: Sequence[Path],
    group: str | None = None,
    processes: int = 1,
    memory_gb: float = 2.0,
    ended: Callable[[Run], None] = lambda run: None,
    say: Callable[[str], None] = print,
) -> list[Run]:
    """Train every configuration into its own directory; a job that fails says so there and stops no other.

    A job that is done already is left as it is, and one that was stopped resumes from its last checkpoint. Its numbers
    depend neither on the jobs beside it in a stack, except for rounding where `trainer.compile=true`, nor on the number
    of processes.

    Arguments:
        configs: the jobs, in any mixture of shapes.
        directories: for each a directory that is new, empty, or its run's.
        group: the name of the sweep.
        processes: how many processes train at once; 1 stays in this process.
        memory_gb: the most that a stack may take, in gigabytes; a larger one is split.
        ended: called with every run that was worked on, when it has ended.
        say: receives a line on how the jobs are grouped.

    Raises:
        ConfigError: a configuration that cannot be run, or a directory that holds something else.
    """
    targets: Targets = {}
    members: list[Member] = []
    for directory, config in zip(directories, (to_config(config.to_dict()) for config in configs), strict=True):
        run = Run(Path(directory), with_absolute_paths(config))
        members.append(Member(run, *check(run.config, targets=targets)))
        find_run(run.directory, run.config)
    runs = [member.run for member in members]
    check_same_data(runs)
    waiting = [member for member in members if not member.run.done]
    pooled, in_turn = _plan(members, waiting, group, targets, processes, memory_gb, say)
    pieces = [*pooled, *in_turn]
    sizes = [len(piece.members) for piece in pieces]
    say(describe_groups(len(runs), sizes, len(runs) - len(waiting)))
    steps = [piece.config.max_steps for piece in pieces]
    with show_sweep_progress(runs[0].config.trainer.progress, sizes, steps) as show:

        def receive(number: int, step: int | None) -> None:
            show(number, step)
            for member in pieces[number].members if step is None else []:
                killed = RuntimeError("the process that trained it was killed; was the memory used up?")
                mark_failed_if_running(member.run, killed)
                ended(member.run)

        run_pool([piece.train for piece in pooled], min(processes, max(1, len(pooled))), receive)
        # Jobs with threads, processes or a GPU of their own: one at a time, and not in a fork.
        run_pool([piece.train for piece in in_turn], 1, lambda number, step: receive(len(pooled) + number, step))
    return runs


def _plan(
    members: Sequence[Member],
    waiting: Sequence[Member],
    group: str | None,
    targets: Targets,
    processes: int,
    memory_gb: float,
    say: Callable[[str], None],
) -> tuple[list[Piece], list[Piece]]:
    """Pieces for the pool of processes, the longest first so that none works alone at the end; and pieces in turn."""
    pooled: list[Piece] = []
    in_turn: list[Piece] = []
    shapes: dict[str, list[Member]] = {}
    for number, member in enumerate(members):
        shapes.setdefault(stack_key(member.run.config, member.target) or f"alone {number}", []).append(member)
    for same in shapes.values():
        ready = [member for member in same if member in waiting]
        if not ready:
            continue
        config, trainer = ready[0].run.config, ready[0].run.config.trainer
        forkable = trainer.threads == 1 and resolve_device(trainer.accelerator).type == "cpu"
        if trainer.devices > 1:
            in_turn += [Piece([member], False, group, targets) for member in ready]
        elif len(same) == 1:
            (pooled if forkable else in_turn).append(Piece(ready, False, group, targets))
        else:
            # Enough stacks for every process, but none of a single job, which is faster alone.
            share = min(-(-processes * len(ready) // len(waiting)), max(1, len(ready) // 2))
            most = max(1, int(memory_gb * 1e9) // bytes_of_job(config, ready[0].target, ready[0].costs))
            if len(ready) > most:
                say(f"at most {most} of the jobs of flow={config.flow.name} in a stack, to stay below {memory_gb:g} GB")
            stacks = [Piece(part, True, group, targets) for part in _stacks(ready, most, share)]
            (pooled if forkable else in_turn).extend(stacks)
    pooled.sort(key=lambda piece: -piece.work)
    return pooled, in_turn


def usable_processes() -> int:
    """How many cores this process may use; 1 where forks are not safe."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _stacks(members: list[Member], largest: int, at_least: int) -> Iterator[list[Member]]:
    """Jobs of one shape as stacks: each of jobs at the same step, and no larger than the memory allows."""
    for _, same in groupby(sorted(members, key=_step), key=_step):
        yield from split_evenly(list(same), largest, at_least)


def _step(member: Member) -> int:
    """The step from which a job resumes."""
    try:
        return member.run.checkpoint("last")["global_step"]
    except ConfigError:  # there is none yet; or it is damaged, which is reported when the run is opened
        return 0
