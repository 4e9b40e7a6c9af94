"""The minibatch of a step is a function of (seed, step)."""

import pytest
import torch

from flowlab import Flow, StandardNormal
from flowlab.bijectors import Exp
from flowlab.targets import Banana
from flowlab.training.batches import base_stream, data_stream, epoch_stream


def fresh(seed=0):
    return data_stream(Banana(), seed, 64, torch.float64, "cpu")


def test_steps_can_be_asked_in_any_order():
    forwards = [fresh()(step) for step in (0, 1, 2)]
    stream = fresh()
    backwards = [stream(step) for step in (2, 1, 0)][::-1]
    for first, second in zip(forwards, backwards, strict=True):
        assert torch.equal(first, second)


def test_steps_and_seeds_differ():
    assert not torch.equal(fresh()(0), fresh()(1))
    assert not torch.equal(fresh(0)(0), fresh(1)(0))


def test_minibatches_are_not_the_held_out_points():
    held_out = Banana().rows("test", 64, seed=0, dtype=torch.float64)
    assert not any(torch.isin(fresh()(step), held_out).any() for step in range(5))


@pytest.mark.parametrize(("rows", "batch_size"), [(10, 5), (10, 4), (10, 3), (3, 7), (7, 7), (1, 2)])
def test_every_epoch_has_every_row_once(rows, batch_size):
    data = torch.arange(rows, dtype=torch.float64)[:, None]
    stream = epoch_stream(data, seed=0, batch_size=batch_size)
    epochs = 6
    steps = -(-rows * epochs // batch_size)
    batches = [stream(step) for step in range(steps)]
    assert all(batch.shape == (batch_size, 1) for batch in batches)
    drawn = torch.cat(batches).flatten()[: rows * epochs].reshape(epochs, rows)
    assert torch.equal(drawn.sort(dim=1).values, data.flatten().expand(epochs, rows))
    if rows > 5:
        assert not torch.equal(drawn[0], drawn[1]), "each epoch has its own order"
        other = epoch_stream(data, seed=1, batch_size=batch_size)
        assert not torch.equal(torch.cat([other(step) for step in range(steps)]), torch.cat(batches)), "so has a seed"
    alone = epoch_stream(data, seed=0, batch_size=batch_size)
    assert torch.equal(alone(steps - 1), batches[-1]), "a step does not depend on the steps before it"


def test_base_stream_draws_from_the_base():
    flow = Flow(StandardNormal(2), Exp()).double()
    stream = base_stream(flow, 0, 20_000, "cpu")
    batch = stream(0)
    assert torch.equal(batch, stream(0))
    for other in (stream(1), base_stream(flow, 1, 20_000, "cpu")(0)):
        assert not torch.isin(batch, other).any(), "steps and seeds differ"
    assert batch.mean(0).abs().max() < 0.05
    assert (batch.std(0) - 1).abs().max() < 0.05
