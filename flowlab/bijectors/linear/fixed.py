"""Linear maps without parameters: the discrete cosine transform, and vectors as lower triangular matrices."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import constraints

from flowlab.bijectors.base import Bijector
from flowlab.bijectors.linear.low_rank_affine import fill_triangular
from flowlab.bijectors.linear.packed import pack_triangular


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


class FillTriangular(Bijector):
    r"""y = the lower triangular matrix of shape (*, d, d) that holds the d (d + 1) / 2 numbers of x.

    forward  y = fill_triangular(x)    log det  0
    inverse  x = pack_triangular(y)    log det  0

    The numbers are packed in TensorFlow Probability's order. First x without its first d numbers, and then x reversed,
    fill the square row by row. The entries above the diagonal are set to 0. For d = 3, (1, 2, 3, 4, 5, 6) becomes the
    rows (4, 0, 0), (6, 5, 0), (3, 2, 1). The log det is taken between x and the entries of the lower triangle, the same
    numbers in a different order. The inverse reads the lower triangle alone.

    Raises:
        ValueError: the length of x is not d (d + 1) / 2 for a whole d, or y is not square.

    Example:
        >>> import torch
        >>> from flowlab.bijectors import FillTriangular
        >>> y, log_det = FillTriangular().forward_and_log_det(torch.arange(1.0, 7.0))
        >>> y, log_det
        (tensor([[4., 0., 0.],
                [6., 5., 0.],
                [3., 2., 1.]]), tensor(0.))
    """

    event_dim, image_event_dim = 1, 2
    domain, codomain = constraints.real_vector, constraints.lower_triangular
    constant_log_det = True
    affine = True

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        dim = _side(shape[-1])
        return torch.Size((*shape[:-1], dim, dim))

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        if len(shape) < 2 or shape[-2] != shape[-1]:
            raise ValueError(f"FillTriangular: its images are square matrices of shape (*, d, d), got {tuple(shape)}")
        return torch.Size((*shape[:-2], shape[-1] * (shape[-1] + 1) // 2))

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return fill_triangular(x, _side(x.shape[-1])), x.new_zeros(x.shape[:-1])

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        shape = self.inverse_shape(y.shape)
        return pack_triangular(y), y.new_zeros(shape[:-1])


def _side(length: int) -> int:
    """d from d (d + 1) / 2."""
    dim = (int(math.sqrt(8 * length + 1)) - 1) // 2  # exact for whole d; torch.compile has no isqrt
    if dim < 1 or dim * (dim + 1) // 2 != length:
        near = [f"{d * (d + 1) // 2} (d = {d})" for d in (dim, dim + 1) if d > 0]
        raise ValueError(
            f"FillTriangular: {length} numbers fill no triangle; d (d + 1) / 2 do, the nearest are {' and '.join(near)}"
        )
    return dim
