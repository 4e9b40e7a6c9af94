"""Reference posteriors of simulators, which the package sbibm ships."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas

from flowlab.config.errors import DataError, did_you_mean
from flowlab.datasets.dataset import Wheel

SBIBM = Wheel("sbibm", "1.1.0", "12ecc6b4d327b92f9225f08faa6405e4274fb8e75943d86a53157d1b1bcfaf74", 18.6)
OBSERVATIONS = 10  # observations of each task, numbered from 1
TASKS = ("two_moons", "gaussian_linear", "gaussian_linear_uniform", "gaussian_mixture", "slcp")


@dataclass(frozen=True)
class ReferencePosterior:
    """An observation of a simulator, and samples of its posterior.

    Attributes:
        observation: the data, of shape (data_dim,).
        parameters: the parameters that the data were simulated from, of shape (dim,).
        samples: 10 000 samples of the posterior, of shape (10000, dim).
    """

    observation: np.ndarray[Any, np.dtype[np.float64]]
    parameters: np.ndarray[Any, np.dtype[np.float64]]
    samples: np.ndarray[Any, np.dtype[np.float64]]


def load_posterior(task: str, observation: int, *, download: bool = False) -> ReferencePosterior:
    """Load an observation of a task and 10 000 samples of its posterior.

    They are read from the pinned wheel of sbibm 1.1.0 (MIT licence). The wheel is downloaded once, if you ask for it;
    its hash is checked, and nothing in it is run or installed.

    Arguments:
        task: two_moons, gaussian_linear, gaussian_linear_uniform, gaussian_mixture or slcp.
        observation: its number, from 1 to 10.
        download: download the wheel if it is not in the cache yet.

    Raises:
        DataError: there is no such task or observation, the wheel is not here yet, or it cannot be downloaded.

    Reference:
        | Benchmarking Simulation-Based Inference (Jan-Matthis Lueckmann, Jan Boelts, David S. Greenberg, Pedro J.
        | Goncalves, Jakob H. Macke, 2021)
        | https://arxiv.org/abs/2101.04653
    """
    if task not in TASKS:
        raise DataError(f"{task}: there is no such reference posterior: {did_you_mean(task, TASKS)}")
    if observation not in range(1, OBSERVATIONS + 1):
        raise DataError(f"observation={observation}: must be a number from 1 to {OBSERVATIONS}")
    if not SBIBM.path.is_file():
        if not download:
            raise DataError(
                f"{task}: is in the wheel of {SBIBM}, which is not here yet: load_posterior({task!r}, {observation}, "
                f"download=True) downloads its {SBIBM.megabytes:g} MB by pip"
            )
        SBIBM.download()

    def read(name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        member = f"sbibm/tasks/{task}/files/num_observation_{observation}/{name}"
        table = pandas.read_csv(io.BytesIO(SBIBM.read(member)), compression="bz2" if name.endswith(".bz2") else None)
        return table.to_numpy(dtype=np.float64)

    return ReferencePosterior(
        read("observation.csv")[0], read("true_parameters.csv")[0], read("reference_posterior_samples.csv.bz2")
    )
