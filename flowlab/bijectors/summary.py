"""The table that `summary()` and the notebook show of a bijector or a flow."""

from __future__ import annotations

import pandas
from torch import nn

from flowlab.bijectors.base import Bijector
from flowlab.bijectors.compose import Invert, stages
from flowlab.distributions.base import Base


def summarize(bijector: Bijector) -> pandas.DataFrame:
    """One row for each bijector in the order applied; `trainable` and `constant` count numbers."""
    return _table([(str(number + 1), stage) for number, stage in enumerate(stages(bijector))])


def summarize_flow(base: nn.Module, bijector: Bijector) -> pandas.DataFrame:
    """The same with the base distribution on top, as layer 0."""
    return _table([("0", base), *((str(number + 1), stage) for number, stage in enumerate(stages(bijector)))])


def _table(layers: list[tuple[str, nn.Module]]) -> pandas.DataFrame:
    rows = []
    for number, layer in layers:
        named = [*layer.named_parameters(), *layer.named_buffers()]
        shown = [(name, tensor) for name, tensor in named if tensor.numel()]  # an empty one only tells where it is
        trainable = sum(parameter.numel() for parameter in layer.parameters() if parameter.requires_grad)
        rows.append(
            {
                "layer": number,
                "name": _name(layer),
                "shapes": ", ".join(f"{name.rpartition('.')[2]} {tuple(tensor.shape)}" for name, tensor in shown),
                "trainable": trainable,
                "constant": sum(tensor.numel() for _, tensor in named) - trainable,
            }
        )
    return pandas.DataFrame(rows, columns=["layer", "name", "shapes", "trainable", "constant"]).set_index("layer")


def _name(layer: nn.Module) -> str:
    """The name of the class; of a torch distribution that serves as base, and of what is inverted, that of theirs."""
    if isinstance(layer, Invert):
        return f"inverse of {_name(layer.bijector)}"
    return type(layer._template if type(layer) is Base else layer).__name__
