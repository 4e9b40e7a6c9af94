"""The tensors inside `torch.distributions` objects, which are no modules: found, and put back changed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.transforms import Transform, _InverseTransform


def tensors_of(thing: Any, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a distribution or transform and of those inside it, by names that a module can register."""
    found: dict[str, Tensor] = {}
    for name, value in _inside(thing):
        key = f"{prefix}{name.strip('_')}"
        found.update({key: value} if isinstance(value, Tensor) else tensors_of(value, f"{key}_"))
    return found


def rebuild(thing: Any, tensors: Mapping[str, Tensor], prefix: str = "") -> Any:
    """A copy of a distribution or transform that reads the given tensors in place of its own."""
    if isinstance(thing, list | tuple):
        return [rebuild(part, tensors, f"{prefix}{number}_") for number, part in enumerate(thing)]
    clone = copy.copy(thing)
    if isinstance(clone, Transform):
        clone._inv = None  # the inverse that torch remembers would still read the old tensors
    for name, value in _inside(thing):
        key = f"{prefix}{name.strip('_')}"
        setattr(clone, name, tensors[key] if isinstance(value, Tensor) else rebuild(value, tensors, f"{key}_"))
    return clone


def _inside(thing: Any) -> list[tuple[str, Any]]:
    if isinstance(thing, list | tuple):
        return [(str(number), part) for number, part in enumerate(thing)]
    # As `_inv` an inverse holds the transform that it is of; any other transform remembers its own inverse there.
    remembered = () if isinstance(thing, _InverseTransform) else ("_inv",)
    return [(name, value) for name, value in vars(thing).items() if name not in remembered and _is_part(value)]


def _is_part(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(part, Distribution | Transform) for part in value)
    return isinstance(value, Tensor | Distribution | Transform)
