"""The table that `summary()` and a notebook show of a bijector or a flow."""

from __future__ import annotations

from collections.abc import Iterable

import pandas
from torch import nn

COLUMNS = ["layer", "name", "shapes", "trainable", "constant"]
PASSES = ["forward_passes", "inverse_passes"]


def summarize(layers: Iterable[nn.Module], first: int) -> pandas.DataFrame:
    """One row for each layer: its name, the shapes of its tensors, and how many numbers are trainable and constant.

    Where a layer declares that a direction takes several passes of its network, two more columns say how many.

    Arguments:
        layers: modules in the order applied; one with a `layer_name` is shown under it.
        first: the number of the first layer.
    """
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
    table = pandas.DataFrame(rows, columns=COLUMNS + PASSES).set_index("layer")
    return table if (table[PASSES] > 1).any(axis=None) else table.drop(columns=PASSES)
