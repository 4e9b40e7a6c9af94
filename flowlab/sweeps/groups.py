"""Which jobs of a sweep are trained together."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeVar

from flowlab.config.component import per_job_fields
from flowlab.config.schema import Config, RunConfig
from flowlab.flows._assemble import Costs
from flowlab.targets.base import Target

T = TypeVar("T")


def stack_key(config: Config, target: Target) -> str | None:
    """The shape of a job: jobs with equal keys differ in per-job settings alone, and can be trained as one stack.

    None where the architecture says that its flows cannot be stacked. A loss without a density sees the target through
    its points alone, so there the target's settings do not count either.
    """
    if not config.flow.stackable:
        return None
    shared: dict[str, Any] = config.to_dict()
    del shared["logger"]
    for name in per_job_fields(RunConfig):
        del shared[name]
    for group in ("target", "flow", "optimizer"):  # a stack has one loss, the first job's
        for name in per_job_fields(type(getattr(config, group))):
            del shared[group][name]
    if not config.objective.needs_density:
        shared["target"] = target.standardization is not None
    return json.dumps([shared, list(target.event_shape), target.context_shape], sort_keys=True, default=str)


def bytes_of_job(config: Config, target: Target, costs: Costs | None) -> int:
    """Memory that a job takes in a stack: its share of a step, its parameters twice, and its held-out points."""
    points = config.validation_size * target.dim * 8
    return points if costs is None else costs.of_step(config.batch_size) + 2 * costs.memory + points


def split_evenly(jobs: Sequence[T], largest: int, at_least: int = 1) -> list[list[T]]:
    """Jobs in parts of nearly equal size, none above `largest`, and at least `at_least` parts if there are enough jobs.

    Example:
        >>> from flowlab.sweeps.groups import split_evenly
        >>> split_evenly("abcdefg", largest=3)
        [['a', 'b', 'c'], ['d', 'e'], ['f', 'g']]
    """
    count = min(len(jobs), max(at_least, -(-len(jobs) // max(1, largest))))
    size, larger = divmod(len(jobs), count)
    ends = [number * size + min(number, larger) for number in range(count + 1)]
    return [list(jobs[begin:end]) for begin, end in pairwise(ends)]


def describe_groups(jobs: int, sizes: Sequence[int], done: int = 0) -> str:
    """How jobs are grouped, in words.

    Arguments:
        jobs: the number of jobs in the sweep.
        sizes: the number of jobs in each group that is to be trained.
        done: the number of jobs that are done already.

    Example:
        >>> from flowlab.sweeps.groups import describe_groups
        >>> describe_groups(25, [8, 8, 8, 1])
        '25 jobs: 3 stacks of 8, 1 alone'
        >>> describe_groups(25, [8, 1], done=16)
        '25 jobs: 16 done already, 1 stack of 8, 1 alone'
    """
    words = [f"{done} done already"] if done else []
    for size, count in sorted(Counter(sizes).items(), reverse=True):
        words.append(f"{count} alone" if size == 1 else f"{count} stack{'s' if count > 1 else ''} of {size}")
    return f"{jobs} job{'s' if jobs > 1 else ''}: {', '.join(words)}"
