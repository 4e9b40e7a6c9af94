"""Images of digits, split once and for all, with binarized images to validate and to test on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from flowlab.config.errors import DataError
from flowlab.datasets import load
from flowlab.seeding import generator

SHARES = {"test": 0.2, "validation": 0.1}


@dataclass(frozen=True)
class Images:
    """Square images as rows.

    Attributes:
        train: grey levels from 0 to 1, of shape (n, pixels): a Bernoulli likelihood draws the pixels anew each step.
        validation, test: pixels that are 0 or 1, drawn once.
        side: the pixels of a side.
    """

    train: Tensor
    validation: Tensor
    test: Tensor
    side: int


def load_images(name: str, *, subset: bool = False, download: bool = False) -> Images:
    """Load a table of `flowlab.datasets` whose columns are pixels: "digits" (8 x 8) or "mnist" (28 x 28).

    A fifth of the images is the test split and a tenth the validation split, both at random. Neither the split nor the
    pixels that are drawn depend on a seed, so every model is compared on the same images.

    Arguments:
        name, subset, download: as in `flowlab.datasets.load`.

    Raises:
        DataError: the table cannot be loaded, or it holds no square images.

    Example:
        >>> from flowlab.vae import load_images
        >>> images = load_images("mnist", subset=True)
        >>> images.train.shape, images.test.shape, images.test.unique()
        (torch.Size([350, 784]), torch.Size([100, 784]), tensor([0., 1.]))
    """
    pixels = load(name, subset=subset, download=download).filter(like="pixel")
    side = math.isqrt(pixels.shape[1])
    if not side or side**2 != pixels.shape[1]:
        raise DataError(f"{name}: holds no square images; use digits or mnist")
    grey = torch.tensor(pixels.to_numpy(), dtype=torch.float32)
    grey = grey / grey.max()
    order = torch.randperm(len(grey), generator=generator(0, "images"))
    sizes = [round(share * len(grey)) for share in SHARES.values()]
    test, validation, train = grey[order].split([*sizes, len(grey) - sum(sizes)])
    held_out = [
        (torch.rand(part.shape, generator=generator(0, f"pixels {split}")) < part).float()
        for split, part in zip(SHARES, (test, validation), strict=True)
    ]
    return Images(train, held_out[1], held_out[0], side)
