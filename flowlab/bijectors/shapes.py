"""Shapes in words: errors that name them, batches of points and contexts, and the table of a bijector's tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    import pandas

PASSES = ["forward_passes", "inverse_passes"]


def event_shape_error(owner: str, given: tuple[int, ...], event_shape: tuple[int, ...]) -> ValueError:
    """The error for points that do not end in the shape of an event: both shapes and a remedy."""
    remedy = f"give points of shape (*, {', '.join(map(str, event_shape))})"
    if event_shape == (1,):
        remedy += ", such as x[:, None] for a vector x of scalars" if len(given) < 2 else ", such as x[..., None]"
    elif len(event_shape) == 1 and len(given) > 1 and given[-2] == event_shape[0]:
        remedy += ", such as x.mT for points in columns"
    return ValueError(f"{owner}: points of shape {given} do not hold events of shape {event_shape}; {remedy}")


def broadcast_batches(points: Sequence[int], context: Sequence[int]) -> torch.Size:
    """The batch shape of points, given without their event, and of a context of shape (*batch, c) together.

    Raises:
        ValueError: the context is a scalar, or the two batches do not broadcast.
    """
    if not context:
        raise ValueError("context: a scalar; its last dimension is the context vector; use context[None]")
    try:
        return torch.broadcast_shapes(torch.Size(points), torch.Size(context[:-1]))
    except RuntimeError:
        raise ValueError(
            f"context of shape {tuple(context)}: its batch {tuple(context[:-1])} does not broadcast against points of "
            f"batch {tuple(points)}; the last dimension is the context vector, all before it are batch"
        ) from None


def broadcast_context(x: Tensor, context: Tensor, event_dim: int) -> Tensor:
    """A context of shape (*batch, c) with a row for each point of shape (*batch, *event), so both can be concatenated.

    Raises:
        ValueError: the two batches do not broadcast.

    Example:
        >>> import torch
        >>> from flowlab.bijectors import broadcast_context
        >>> x, context = torch.zeros(7, 5, 2), torch.ones(5, 3)
        >>> torch.cat([x, broadcast_context(x, context, event_dim=1)], -1).shape
        torch.Size([7, 5, 5])
    """
    batch = broadcast_batches(x.shape[: x.ndim - event_dim], context.shape)
    return context.expand(*batch, context.shape[-1])


def summarize(layers: Iterable[nn.Module], first: int) -> pandas.DataFrame:
    """One row for each layer, numbered from `first`: name, shapes, how many numbers are trainable and constant.

    Where a layer declares that a direction takes several passes of its network, two more columns say how many.
    """
    import pandas  # takes as long to import as torch

    rows = []
    for number, layer in enumerate(layers, start=first):
        named = [*layer.named_parameters(), *layer.named_buffers()]
        shapes = [f"{name.rpartition('.')[2]} {tuple(tensor.shape)}" for name, tensor in named if tensor.numel()]
        trainable = sum(parameter.numel() for parameter in layer.parameters() if parameter.requires_grad)
        rows.append(
            {
                "layer": str(number),
                "name": getattr(layer, "layer_name", type(layer).__name__),
                "shapes": ", ".join(shapes),
                "trainable": trainable,
                "constant": sum(tensor.numel() for _, tensor in named) - trainable,
                **{name: getattr(layer, name, 1) for name in PASSES},
            }
        )
    columns = ["layer", "name", "shapes", "trainable", "constant", *PASSES]
    table = pandas.DataFrame(rows, columns=columns).set_index("layer")
    return table if (table[PASSES] > 1).any(axis=None) else table.drop(columns=PASSES)
