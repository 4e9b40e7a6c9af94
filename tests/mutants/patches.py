"""Mutants that no operator makes: functions replaced by name, so that they survive changes of the source text.

`make mutants` adds a call of `apply_patch` to the end of the file that defines the function, in a copy of the tree.
"""

import contextlib
import functools
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Patch:
    """A function by its public name, what replaces it, and its tests if they are not those of its module."""

    anchor: str
    make: Callable[[Callable], Callable]
    tests: tuple[str, ...]


PATCHES: dict[str, Patch] = {}


def patch(anchor: str, *tests: str) -> Callable:
    """Register a function from the original to its replacement, under its own name."""

    def register(make: Callable[[Callable], Callable]) -> Callable:
        PATCHES[make.__name__] = Patch(anchor, make, tests)
        return make

    return register


def find_target(anchor: str) -> tuple[str, str]:
    """Return the module that defines a function, and its name there with its class.

    Raises:
        LookupError: there is no such function.
    """
    *path, last = anchor.split(".")
    owner: Any = None
    for split in range(len(path), 0, -1):
        with contextlib.suppress(ModuleNotFoundError):
            module = importlib.import_module(".".join(path[:split]))
            owner = functools.reduce(lambda holder, name: getattr(holder, name, None), path[split:], module)
            break
    if inspect.isclass(owner):
        for holder in owner.__mro__:
            if last in vars(holder):
                return holder.__module__, f"{holder.__qualname__}.{last}"
    elif callable(found := getattr(owner, last, None)):
        return found.__module__, found.__qualname__
    raise LookupError(f"tests/mutants/patches.py: {anchor} is gone; name the function that does its work now")


def apply_patch(name: str, qualified: str, module: dict[str, Any]) -> None:
    """Replace a function, method or property of a module that has just been defined."""
    *classes, last = qualified.split(".")
    owner = module[classes[0]] if classes else None
    original = vars(owner)[last] if owner else module[last]
    make = PATCHES[name].make
    if isinstance(original, property):
        replaced: Any = property(make(original.fget))
    else:
        replaced = functools.wraps(original)(make(original))
    if owner:
        setattr(owner, last, replaced)
    else:
        module[last] = replaced


@patch("flowlab.seeding.generator")
def the_seed_is_lost(generator):
    return lambda seed, *rest, **options: generator(0, *rest, **options)


@patch("flowlab.seeding.generator")
def the_stream_ignores_its_purpose(generator):
    return lambda seed, purpose, *rest, **options: generator(seed, "train", *rest, **options)


@patch("flowlab.seeding.generator", "tests/training/test_batches.py")
def a_minibatch_ignores_the_step(generator):
    return lambda seed, purpose, step=0, device="cpu": generator(seed, purpose, 0, device)
