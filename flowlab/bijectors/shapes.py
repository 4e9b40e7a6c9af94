"""Shapes of points, events and contexts: checks with errors in words, and broadcasting."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def sum_rightmost(value: Tensor, dims: int) -> Tensor:
    """Sum over the last `dims` dimensions; 0 leaves the value as it is."""
    return value.sum(dim=tuple(range(-dims, 0))) if dims > 0 else value


def check_event_shape(owner: str, shape: Sequence[int], event_shape: tuple[int, ...] | None) -> None:
    """Check that points of a shape end in the shape of an event; None and () allow any shape.

    Raises:
        ValueError: they do not; the message names the owner, both shapes and a remedy.
    """
    if event_shape and tuple(shape[-len(event_shape) :]) != event_shape:
        given, needed = tuple(shape), ", ".join(map(str, event_shape))
        message = f"{owner}: points of shape {given} do not hold events of shape {tuple(event_shape)}"
        remedy = f"give points of shape (*, {needed})"
        if tuple(event_shape) == (1,):
            remedy += ", such as x[:, None] for a vector x of scalars" if len(given) < 2 else ", such as x[..., None]"
        elif len(event_shape) == 1 and len(given) > 1 and given[-2] == event_shape[0]:
            remedy += ", such as x.mT for points in columns"
        raise ValueError(f"{message}; {remedy}")


def broadcast_shapes(owner: str, shape: torch.Size, parameter_shape: Sequence[int] | None) -> torch.Size:
    """The shape of points broadcast with the shape of elementwise parameters.

    Raises:
        ValueError: the two do not broadcast.
    """
    if not parameter_shape:
        return shape
    try:
        return torch.broadcast_shapes(shape, parameter_shape)
    except RuntimeError:
        raise ValueError(
            f"{owner}: parameters of shape {tuple(parameter_shape)} do not broadcast against points of shape "
            f"{tuple(shape)}; give one parameter, or one for each coordinate"
        ) from None


def broadcast_batches(points: Sequence[int], context: Sequence[int]) -> torch.Size:
    """The batch shape of points and of a context together.

    Arguments:
        points: the batch shape of the points, without their event.
        context: the shape (*batch, c) of the context.

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
    """A context with one row for each point, so both can be concatenated.

    Arguments:
        x: points of shape (*batch, *event).
        context: of shape (*batch, c), where the two batches broadcast.
        event_dim: how many dimensions an event of x has.

    Returns:
        The context of shape (*batch, c), its batch broadcast with the batch of x.

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
