"""Images are split and binarized in the same way every time."""

import pytest
import torch

from flowlab.config.errors import DataError
from flowlab.vae import load_images


@pytest.mark.parametrize(("name", "subset", "count", "side"), [("digits", False, 1797, 8), ("mnist", True, 500, 28)])
def test_splits_are_disjoint_and_binarized_once(name, subset, count, side):
    images, again = load_images(name, subset=subset), load_images(name, subset=subset)
    assert images.side == side
    assert len(images.train) + len(images.validation) + len(images.test) == count
    assert (len(images.test), len(images.validation)) == (round(0.2 * count), round(0.1 * count))
    assert images.train.shape[1] == side**2
    assert images.train.min() == 0
    assert images.train.max() == 1
    assert images.train.unique().numel() > 10, "grey levels"
    for split in ("validation", "test"):
        pixels = getattr(images, split)
        assert pixels.unique().tolist() == [0.0, 1.0]
        assert torch.equal(pixels, getattr(again, split))
        assert float(pixels.mean()) == pytest.approx(float(images.train.mean()), abs=0.02)


def test_a_table_without_images_is_named():
    with pytest.raises(DataError, match="wine: holds no square images; use digits or mnist"):
        load_images("wine")
