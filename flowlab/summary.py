"""The table that `summary()` and the notebook show of a bijector or a flow."""

from __future__ import annotations

import pandas
from torch import nn

from flowlab.bijectors.base import Bijector, stages


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
        trainable = sum(parameter.numel() for parameter in layer.parameters() if parameter.requires_grad)
        rows.append(
            {
                "layer": number,
                "name": type(layer).__name__,
                "shapes": ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in named),
                "trainable": trainable,
                "constant": sum(tensor.numel() for _, tensor in named) - trainable,
            }
        )
    return pandas.DataFrame(rows, columns=["layer", "name", "shapes", "trainable", "constant"]).set_index("layer")
