"""A stack of modules in memory equals single trainings, resumes to the same bits, and names mistakes."""

import pytest
import torch

from flowlab import ConfigError, Flow, StandardNormal, fit
from flowlab.bijectors import LowRankAffine
from flowlab.density.fit_many import fit_many
from flowlab.optimizers import Adam
from flowlab.targets import Banana
from flowlab.training.divergence import DivergedError

SETTINGS = {"progress": "off", "batch_size": 32, "lr": 0.05, "validate_every": 10, "log_every": 10}


class Center(torch.nn.Module):
    """A module with a loss that is no flow; from some step on the loss may be NaN."""

    def __init__(self, start=0.0, bad=False):
        super().__init__()
        self.center = torch.nn.Parameter(torch.full((2,), start))
        self.register_buffer("scale", torch.tensor(torch.nan if bad else 1.0))

    def loss(self, x):
        return self.scale * (x - self.center).square().sum(-1).mean()


def points():
    return 3 + torch.randn(400, 2, generator=torch.Generator().manual_seed(0))


def new_flows(count=3):
    return [Flow(StandardNormal(2), LowRankAffine(2, generator=torch.Generator().manual_seed(n))) for n in range(count)]


def weights(module):
    return torch.cat([tensor.flatten() for tensor in module.state_dict().values()])


def test_a_stack_equals_single_trainings():
    stacked, single = new_flows(), new_flows()
    results = fit_many(stacked, points(), steps=60, seeds=[5, 6, 7], **SETTINGS)
    for flow, alone, seed, result in zip(stacked, single, (5, 6, 7), results, strict=True):
        expected = fit(alone, points(), steps=60, seed=seed, optimizer=Adam(lr=0.05), **SETTINGS | {"lr": None})
        torch.testing.assert_close(weights(flow), weights(alone), rtol=1e-4, atol=1e-4)
        assert result.steps == 60
        assert list(result.rows) == list(expected.rows)
    assert not torch.equal(weights(stacked[0]), weights(stacked[1])), "each seed has its own minibatches"


def test_modules_with_a_loss_equal_single_trainings():
    stacked, single = ([Center(start) for start in (0.0, 1.0)] for _ in range(2))
    results = fit_many(stacked, points(), steps=60, **SETTINGS)
    for module, alone, seed, result in zip(stacked, single, (0, 1), results, strict=True):
        expected = fit(alone, points(), steps=60, seed=seed, **SETTINGS)
        torch.testing.assert_close(module.center, alone.center, rtol=1e-5, atol=1e-5)
        assert result.best_step == expected.best_step
        assert result.rows[60]["validation_loss"] == pytest.approx(expected.rows[60]["validation_loss"], rel=1e-5)


def test_a_stack_resumes_to_the_same_bits(tmp_path):
    whole, part, resumed = ([Center(), Center(1.0)] for _ in range(3))
    fit_many(whole, points(), steps=60, directory=tmp_path / "whole", checkpoint_every=20, **SETTINGS)
    loss, calls = Center.loss, []

    def failing(self, x):
        calls.append(0)
        if len(calls) > 40:
            raise InterruptedError
        return loss(self, x)

    Center.loss = failing
    try:
        with pytest.raises(InterruptedError):
            fit_many(part, points(), steps=60, directory=tmp_path / "part", checkpoint_every=20, **SETTINGS)
    finally:
        Center.loss = loss
    assert (tmp_path / "part/seed_1/checkpoints/last.ckpt").exists()
    (tmp_path / "part/seed_1/checkpoints/last.ckpt").unlink()  # as if a kill had come between the two files
    results = fit_many(resumed, points(), steps=60, directory=tmp_path / "part", checkpoint_every=20, **SETTINGS)
    for module, expected, result in zip(resumed, whole, results, strict=True):
        assert torch.equal(module.center, expected.center)
        assert result.steps == 60
    again = [Center(), Center(1.0)]
    fit_many(again, points(), steps=60, directory=tmp_path / "part", checkpoint_every=20, **SETTINGS)
    assert torch.equal(again[1].center, whole[1].center), "a training that is done gives its best weights"


def test_a_module_that_diverges_stops_no_other(capsys):
    modules = [Center(), Center(bad=True)]
    results = fit_many(modules, points(), steps=60, validation=None, **SETTINGS)
    assert float(modules[0].center.detach().mean()) > 1
    assert modules[1].center.tolist() == [0.0, 0.0]
    assert len(results) == 2
    assert "a module of the stack: " in capsys.readouterr().err
    with pytest.raises(DivergedError):
        fit_many([Center(bad=True)], points(), steps=10, validation=None, **SETTINGS)


@pytest.mark.parametrize(
    ("modules", "words", "message"),
    [
        ([], {}, r"seeds=\[\]: give one seed for each of the 0 modules"),
        (new_flows(2), {"seeds": [1]}, r"seeds=\[1\]: give one seed for each of the 2 modules"),
        (new_flows(2), {"seeds": [1, 1]}, r"seeds=\[1, 1\]: give one seed"),
        ([*new_flows(1), Center()], {}, "modules: must have parameters of the same names and shapes"),
        (new_flows(2), {"data": Banana()}, "data: a stack takes points in memory"),
        (new_flows(2), {"compile": "true"}, "compile=true: a stack of modules in memory is not compiled"),
    ],
)
def test_mistake_is_named(modules, words, message):
    words = {"data": points()} | SETTINGS | words
    with pytest.raises(ConfigError, match=message):
        fit_many(modules, **words)


def test_a_checkpoint_of_another_module_is_named(tmp_path):
    fit_many([Center(), Center()], points(), steps=10, directory=tmp_path, **SETTINGS)
    with pytest.raises(ConfigError, match="of another module or optimizer; choose another directory"):
        fit_many(new_flows(2), points(), steps=10, directory=tmp_path, **SETTINGS)
    (tmp_path / "seed_1/checkpoints/last.ckpt").write_bytes(b"")
    with pytest.raises(ConfigError, match="seed_.: its checkpoint is damaged"):
        fit_many([Center(), Center()], points(), steps=10, directory=tmp_path, **SETTINGS)
