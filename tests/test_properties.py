"""Properties that hold for every size, checked on random sizes."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flowlab.bijectors import LowRankAffine, SmoothPReLU, fill_triangular, pack_triangular
from flowlab.seeding import generator
from flowlab.targets import Batch
from flowlab.training.build import epoch_batches

settings.register_profile("flowlab", deadline=None, derandomize=True, max_examples=60, database=None)
settings.load_profile("flowlab")


@given(rows=st.integers(1, 40), batch_size=st.integers(1, 60), step=st.integers(0, 50), seed=st.integers(0, 2**31))
def test_every_epoch_has_every_row_once(rows, batch_size, step, seed):
    data = torch.arange(rows)[:, None]
    batches = epoch_batches(Batch(data), seed, batch_size)
    drawn = torch.cat([batches(t).x for t in range(step + 1)]).flatten()
    whole = len(drawn) // rows
    assert (drawn[: whole * rows].view(whole, rows).sort(dim=1).values == data.flatten()).all()
    assert len(set(drawn[whole * rows :].tolist())) == len(drawn) - whole * rows


@given(dim=st.integers(1, 12), rank=st.integers(0, 12), diagonal=st.booleans(), seed=st.integers(0, 2**31))
def test_low_rank_affine_equals_its_dense_matrix(dim, rank, diagonal, seed):
    start = generator(seed, "property")
    affine = LowRankAffine(
        dim, min(rank, dim), "diag" if diagonal else "tril", factor_scale=0.7, shift_scale=1.0, generator=start
    ).double()
    x = torch.randn(4, dim, dtype=torch.float64, generator=start)
    y, log_det = affine.forward_and_log_det(x)
    # M = I and D = I, so the matrix is I + V V^T, which is never singular.
    torch.testing.assert_close(y, x @ affine.dense().T + affine.shift, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(log_det[0], torch.linalg.slogdet(affine.dense())[1], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(affine.inverse(y), x, rtol=1e-7, atol=1e-7)


@given(dim=st.integers(1, 20))
def test_pack_triangular_inverts_fill_triangular(dim):
    packed = torch.arange(1.0, dim * (dim + 1) // 2 + 1)
    assert torch.equal(pack_triangular(fill_triangular(packed, dim)), packed)


@given(
    slope=st.floats(0.02, 20.0),
    smoothness=st.floats(1e-3, 1e3),
    x=st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=8),
)
def test_smooth_prelu_is_inverted_and_increasing(slope, smoothness, x):
    bijector = SmoothPReLU(slope=slope, smoothness=smoothness).double()
    points = torch.tensor(sorted(x), dtype=torch.float64)
    y, log_det = bijector.forward_and_log_det(points)
    scale = 1e-9 * (1 + smoothness + points.abs().max())
    assert (bijector.inverse(y) - points).abs().max() < scale / 0.02
    assert (y.diff() >= 0).all()
    assert log_det.isfinite().all()
    # The derivative lies between the two slopes.
    low, high = sorted((bijector.slope.item(), 1.0))
    assert ((log_det.exp() > low * (1 - 1e-6)) & (log_det.exp() < high * (1 + 1e-6))).all()
