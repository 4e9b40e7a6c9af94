"""Pixels as a PNG file, in half the time of an encoder that tries five filters on every row."""

from __future__ import annotations

import struct
import zlib

import numpy as np

LEVEL = 3  # compresses nearly as well as zlib's default, 6, in half the time
INCH = 0.0254  # metres


def encode_png(pixels: np.ndarray, dpi: float) -> bytes:
    """Pixels as the content of a PNG file; equal pixels give equal bytes.

    Arguments:
        pixels: of shape (height, width, 4), red, green, blue and opacity from 0 to 255; an opaque figure takes three.
        dpi: pixels per inch.

    Reference:
        | Portable Network Graphics (PNG) Specification, Third Edition (W3C, 2025)
        | https://www.w3.org/TR/png-3/
    """
    height, width, _ = pixels.shape
    channels = 3 if (pixels[..., 3] == 255).all() else 4
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each begins with its filter: 0 is none
    rows[:, 1:] = pixels[..., :channels].reshape(height, -1)
    header = struct.pack(">2I5B", width, height, 8, 2 if channels == 3 else 6, 0, 0, 0)
    density = struct.pack(">2IB", *[round(dpi / INCH)] * 2, 1)
    chunks = (b"IHDR", header), (b"pHYs", density), (b"IDAT", zlib.compress(rows.tobytes(), LEVEL)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, *zip(*chunks, strict=True)))


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
