"""Counter-based random generators: every draw is a function of (seed, purpose, step) alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch

_MASK = 0xFFFFFFFF


def generator(seed: int, purpose: str, step: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator for one use at one step, which counts from 0.

    Streams of different purposes ("train", "test", "start" ...) or seeds have unrelated keys, so more draws from one
    never shift another. Within a stream no two steps below 2^32 share a state: torch's CPU generator uses only the low
    32 bits of its seed, and they are a bijection of the step (the finalizer of MurmurHash3).

    Example:
        >>> import torch
        >>> from flowlab.seeding import generator
        >>> first = torch.rand(2, generator=generator(0, "train", step=7))
        >>> torch.equal(first, torch.rand(2, generator=generator(0, "train", step=7)))
        True
    """
    low_key, high_key = _key(seed, purpose)
    low = _mix(low_key + step & _MASK)
    high = _mix(high_key + (step >> 32) & _MASK)
    return torch.Generator(device).manual_seed(high << 32 | low)


@contextmanager
def torch_seeded(generator: torch.Generator | None) -> Iterator[None]:
    """Seed torch's global CPU generator by a draw from a given one, and restore it afterwards; None leaves it alone."""
    if generator is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        yield


@lru_cache(maxsize=1024)
def _key(seed: int, purpose: str) -> tuple[int, int]:
    digest = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def _mix(value: int) -> int:
    value ^= value >> 16
    value = value * 0x85EBCA6B & _MASK
    value ^= value >> 13
    value = value * 0xC2B2AE35 & _MASK
    return value ^ value >> 16


def pick(weights: torch.Tensor, count: int, draws: torch.Generator) -> torch.Tensor:
    """The places of `count` points of shape (count,), each as often as its share of the weights says, up to one.

    Equal weights give every place in its order. The draws are stratified: one from each of `count` equal parts.

    Example:
        >>> import torch
        >>> from flowlab.seeding import generator, pick
        >>> pick(torch.tensor([1.0, 0.0, 3.0]), 4, generator(0, "example"))
        tensor([0, 2, 2, 2])
    """
    share = (weights / weights.sum()).cumsum(0)
    parts = (torch.arange(count) + torch.rand(count, generator=draws, dtype=torch.float64)) / count
    return torch.searchsorted(share, parts, right=True).clamp_max(int(weights.nonzero().max()))
