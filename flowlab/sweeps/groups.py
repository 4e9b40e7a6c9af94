"""Which jobs of a sweep are trained together."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import torch

from flowlab.config.compose import to_dict
from flowlab.config.schemas import Config, CustomConfig, FileConfig
from flowlab.flows.mlp import count_parameters
from flowlab.training.check import bytes_of_step

T = TypeVar("T")

# The state before and after a step, three numbers each, and the gradient; and the job's own flow, optimizer and best.
NUMBERS_PER_PARAMETER = 14


def stackable(config: Config) -> bool:
    """Whether a job may be trained with others: the code of a class of the user's own need not work for several."""
    return not isinstance(config.flow, CustomConfig) and not isinstance(config.target, CustomConfig)


def stack_key(config: Config, dim: int) -> str:
    """Jobs with equal keys have one shape: they differ in seed, start, rates or the numbers of the target alone."""
    shared = to_dict(config)
    if not stackable(config):
        return json.dumps(shared, sort_keys=True)
    del shared["seed"], shared["logger"]
    for name in ("lr", "schedule"):
        del shared["optimizer"][name]
    for name in ("smoothness", "slope_start", "start"):
        del shared["flow"][name]
    if config.objective.name == "maximum_likelihood":
        # The loss sees the target through its points alone.
        shared["target"] = isinstance(config.target, FileConfig) and config.target.standardize
    return json.dumps([shared, dim], sort_keys=True)


def bytes_of_job(config: Config, dim: int) -> int:
    """Memory that a job takes in a stack: its share of a step, its parameters and its held-out points."""
    numbers = NUMBERS_PER_PARAMETER * count_parameters(config.flow, dim) + config.validation_size * dim
    return bytes_of_step(config, dim) + numbers * getattr(torch, config.dtype).itemsize


def parts(jobs: Sequence[T], largest: int, at_least: int = 1) -> list[list[T]]:
    """Jobs in parts of nearly equal size, none above `largest`, and `at_least` so many where there are enough jobs.

    Example:
        >>> from flowlab.sweeps.groups import parts
        >>> parts("abcdefg", largest=3)
        [['a', 'b', 'c'], ['d', 'e'], ['f', 'g']]
    """
    count = min(len(jobs), max(at_least, -(-len(jobs) // max(1, largest))))
    size, larger = divmod(len(jobs), count)
    ends = [number * size + min(number, larger) for number in range(count + 1)]
    return [list(jobs[begin:end]) for begin, end in pairwise(ends)]


def describe(jobs: int, sizes: Sequence[int], done: int = 0) -> str:
    """How jobs are grouped, in words.

    Arguments:
        jobs: of the sweep.
        sizes: jobs in each group that is to be trained.
        done: jobs that are done already.

    Example:
        >>> from flowlab.sweeps.groups import describe
        >>> describe(25, [8, 8, 8, 1])
        '25 jobs: 3 stacks of 8, 1 alone'
        >>> describe(25, [8, 1], done=16)
        '25 jobs: 16 done already, 1 stack of 8, 1 alone'
    """
    words = [f"{done} done already"] if done else []
    for size, count in sorted(Counter(sizes).items(), reverse=True):
        words.append(f"{count} alone" if size == 1 else f"{count} stack{'s' if count > 1 else ''} of {size}")
    return f"{jobs} job{'s' if jobs > 1 else ''}: {', '.join(words)}"
