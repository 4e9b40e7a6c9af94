import io

import numpy as np
import pytest
from PIL import Image

from flowlab.plotting.png import encode_png


@pytest.mark.parametrize(("opacity", "mode"), [(255, "RGB"), (7, "RGBA")])
def test_another_decoder_reads_the_same_pixels(opacity, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    pixels[2, 1, 3] = opacity
    png = encode_png(pixels, 150)
    image = Image.open(io.BytesIO(png))
    image.verify()  # the checksums
    image = Image.open(io.BytesIO(png))
    assert (image.mode, image.size) == (mode, (3, 5))
    assert np.array_equal(np.asarray(image.convert("RGBA")), pixels)
    assert image.info["dpi"] == pytest.approx((150, 150), abs=0.02)
    assert png == encode_png(pixels.copy(), 150)
