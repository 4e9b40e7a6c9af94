"""The discrete cosine transform: a fixed rotation of vectors that mixes all coordinates."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import constraints

from flowlab.bijectors.base import Bijector


class DiscreteCosineTransform(Bijector):
    r"""y_k = c_k sum_n x_n cos(pi k (2 n + 1) / (2 d)), c_0 = sqrt(1 / d), c_k = sqrt(2 / d): the orthonormal DCT-II.

    forward  y = C x      (the DCT-II)     log det  0
    inverse  x = C^T y    (the DCT-III)    log det  0

    It acts along the last dimension, of any length d >= 1. C is orthogonal, so it preserves lengths and volumes. It is
    computed in O(d log d) by one fast Fourier transform of the even coordinates followed by the odd ones reversed.

    Raises:
        RuntimeError: x is in half precision, for which torch has no Fourier transform on every device.

    Reference:
        | A Fast Cosine Transform in One and Two Dimensions (John Makhoul, 1980)
        | https://doi.org/10.1109/TASSP.1980.1163351

    Example:
        >>> import torch
        >>> from flowlab.bijectors import DiscreteCosineTransform
        >>> DiscreteCosineTransform()(torch.ones(4)).round(decimals=4).abs()
        tensor([2., 0., 0., 0.])
    """

    event_dim = 1
    domain = codomain = constraints.real_vector
    constant_log_det = True
    affine = True

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if x.numel() == 0:  # not every library of Fourier transforms takes an empty tensor
            return x, x.new_zeros(x.shape[:-1])
        folded = torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], -1)
        cosine, sine, scale = self._weights(x)
        spectrum = torch.fft.fft(folded)
        y = scale * (cosine * spectrum.real + sine * spectrum.imag)
        return y, x.new_zeros(x.shape[:-1])

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if y.numel() == 0:
            return y, y.new_zeros(y.shape[:-1])
        cosine, sine, scale = self._weights(y)
        real = y / scale
        # exp(i pi k / 2d) (real_k - i real_(d-k)), with 0 for the missing real_d, is the spectrum.
        mirrored = torch.cat([torch.zeros_like(real[..., :1]), real[..., 1:].flip(-1)], -1)
        spectrum = torch.complex(cosine * real + sine * mirrored, sine * real - cosine * mirrored)
        folded = torch.fft.ifft(spectrum).real
        n = torch.arange(y.shape[-1], device=y.device)
        unfolded = folded[..., torch.where(n % 2 == 0, n // 2, y.shape[-1] - 1 - n // 2)]
        return unfolded, y.new_zeros(y.shape[:-1])

    @staticmethod
    def _weights(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """cos and sin of pi k / (2 d), and c_k."""
        dim = x.shape[-1]
        k = torch.arange(dim, dtype=x.dtype, device=x.device)
        angle = k * (math.pi / (2 * dim))
        scale = math.sqrt(2 / dim) * torch.where(k == 0, math.sqrt(0.5), torch.ones_like(k))
        return angle.cos(), angle.sin(), scale
