"""The minibatch of a step is a function of (seed, step)."""

import pytest
import torch

from flowlab import Flow, StandardNormal
from flowlab.bijectors import Exp
from flowlab.objectives.maximum_likelihood import MaximumLikelihood
from flowlab.objectives.reverse_kl import ReverseKL
from flowlab.targets import Banana
from flowlab.targets.base import Batch
from flowlab.training.batches import build_batches, epoch_batches


def new_batches(seed=0):
    flow = Flow(StandardNormal(2), Exp())
    return build_batches(MaximumLikelihood(), flow, Banana(), seed, 64, torch.float64, "cpu")


def new_reverse_kl_batches(flow, seed, batch_size=20_000):
    return build_batches(ReverseKL(), flow, Banana(), seed, batch_size, torch.float64, "cpu")


def test_steps_can_be_drawn_in_any_order():
    forwards = [new_batches()(step).x for step in (0, 1, 2)]
    batches = new_batches()
    backwards = [batches(step).x for step in (2, 1, 0)][::-1]
    for first, second in zip(forwards, backwards, strict=True):
        assert torch.equal(first, second)


def test_steps_and_seeds_differ():
    assert not torch.equal(new_batches()(0).x, new_batches()(1).x)
    assert not torch.equal(new_batches(0)(0).x, new_batches(1)(0).x)


def test_draws_of_several_jobs_are_placed_together():
    batches = new_batches()
    draws = [batches.draw(step) for step in range(3)]
    together = batches.place(Batch(torch.stack([draw.x for draw in draws]))).x
    assert torch.equal(together, torch.stack([batches(step).x for step in range(3)]))


def test_minibatches_are_not_the_held_out_points():
    held_out = Banana().rows("test", 64, seed=0, dtype=torch.float64)
    assert not any(torch.isin(new_batches()(step).x, held_out).any() for step in range(5))


@pytest.mark.parametrize(("rows", "batch_size"), [(10, 5), (10, 4), (10, 3), (3, 7), (7, 7), (1, 2)])
def test_every_epoch_has_every_row_once(rows, batch_size):
    data = torch.arange(rows, dtype=torch.float64)[:, None]
    batches = epoch_batches(Batch(data), seed=0, batch_size=batch_size)
    epochs = 6
    steps = -(-rows * epochs // batch_size)
    parts = [batches(step).x for step in range(steps)]
    assert all(part.shape == (batch_size, 1) for part in parts)
    drawn = torch.cat(parts).flatten()[: rows * epochs].reshape(epochs, rows)
    assert torch.equal(drawn.sort(dim=1).values, data.flatten().expand(epochs, rows))
    if rows > 5:
        assert not torch.equal(drawn[0], drawn[1]), "two epochs have the same order"
        other = epoch_batches(Batch(data), seed=1, batch_size=batch_size)
        assert not torch.equal(torch.cat([other(step).x for step in range(steps)]), torch.cat(parts)), "seeds differ"
    again = epoch_batches(Batch(data), seed=0, batch_size=batch_size)
    assert torch.equal(again(steps - 1).x, parts[-1]), "a step does not depend on the steps before it"


def test_every_point_keeps_its_context():
    rows = Batch(torch.arange(10.0)[:, None], 2 * torch.arange(10.0)[:, None])
    batches = epoch_batches(rows, seed=0, batch_size=4)
    for step in range(5):
        batch = batches(step)
        assert torch.equal(batch.context, 2 * batch.x)


def test_reverse_kl_draws_from_the_base():
    flow = Flow(StandardNormal(2), Exp()).double()
    batches = new_reverse_kl_batches(flow, 0)
    batch = batches(0).x
    assert torch.equal(batch, batches(0).x)
    for other in (batches(1).x, new_reverse_kl_batches(flow, 1)(0).x):
        assert not torch.isin(batch, other).any(), "two steps or seeds share points"
    assert batch.mean(0).abs().max() < 0.05
    assert (batch.std(0) - 1).abs().max() < 0.05
