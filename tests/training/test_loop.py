"""The training step: the numbers of a plain loop, truthful step counts, a clear end when the loss is not finite."""

import pytest
import torch
from flowlab.config.schemas import AdamConfig
from flowlab.training.optimizer import learning_rate

from flowlab import train
from flowlab.config.compose import compose
from flowlab.flows._assemble import assemble
from flowlab.seeding import generator
from flowlab.targets import Banana
from flowlab.training.batches import data_stream
from flowlab.training.divergence import DivergedError

SMALL = ("trainer.progress=off", "test_size=500", "validation_size=500", "flow.depth=3", "batch_size=64")


def weights(run):
    return torch.cat([p.detach().flatten() for p in run.load_flow("last").parameters()])


def test_equals_a_plain_loop(tmp_path):
    config = compose(*SMALL, "max_steps=60", "dtype=float64", "seed=3")
    run = train(config, tmp_path / "run")
    flow = assemble(config.flow, (2,), None, generator(3, "start"), dtype=torch.float64)
    stream = data_stream(Banana(), 3, 64, torch.float64, "cpu")
    optimizer = torch.optim.Adam(flow.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 60)
    for step in range(60):
        optimizer.zero_grad()
        (-flow.log_prob(stream(step)).mean()).backward()
        optimizer.step()
        schedule.step()
    torch.testing.assert_close(
        weights(run), torch.cat([p.detach().flatten() for p in flow.parameters()]), rtol=1e-9, atol=1e-9
    )


def test_numbers_do_not_depend_on_when_things_happen(tmp_path):
    reference = train(compose(*SMALL, "max_steps=50"), tmp_path / "a")
    other = train(
        compose(
            *SMALL,
            "max_steps=50",
            "trainer.steps_per_call=7",
            "trainer.log_every=5",
            "trainer.validate_every=11",
            "trainer.checkpoint_every=13",
        ),
        tmp_path / "b",
    )
    assert torch.equal(weights(reference), weights(other))
    metrics = other.metrics.set_index("step")
    assert list(metrics.index) == sorted({*range(5, 51, 5), 11, 22, 33, 44})
    assert list(metrics["nll"].dropna().index) == [11, 22, 33, 44, 50]


def test_steps_are_counted_truthfully(tmp_path):
    run = train(compose(*SMALL, "max_steps=130", "trainer.log_every=20"), tmp_path / "run")
    assert run.result["steps"] == 130
    checkpoint = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 130
    assert {float(state["step"]) for state in checkpoint["optimizer_states"][0]["state"].values()} == {130.0}


def test_logged_loss_is_the_mean_since_the_last_row(tmp_path):
    every = train(compose(*SMALL, "max_steps=40", "trainer.log_every=1"), tmp_path / "a").metrics
    tenth = train(compose(*SMALL, "max_steps=40", "trainer.log_every=10"), tmp_path / "b").metrics
    expected = every["loss"].to_numpy().reshape(4, 10).mean(axis=1)
    assert tenth["loss"].to_numpy() == pytest.approx(expected, rel=1e-5)


def test_gradients_are_clipped(tmp_path):
    free = train(compose(*SMALL, "max_steps=5"), tmp_path / "a")
    clipped = train(compose(*SMALL, "max_steps=5", "optimizer.clip=0.01"), tmp_path / "b")
    assert free.metrics["grad_norm"].iloc[-1] > 0.1
    assert clipped.metrics["grad_norm"].iloc[-1] == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("step", [0, 1, 37, 99])
def test_learning_rate_is_torchs_cosine(step):
    config = AdamConfig(name="adam", lr=0.3, betas=[0.9, 0.999], eps=1e-8, schedule="cosine", clip=None)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
    for _ in range(step):
        optimizer.step()
        schedule.step()
    assert learning_rate(config, step, 100) == pytest.approx(schedule.get_last_lr()[0], rel=1e-9)


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    config = compose(
        *SMALL,
        "max_steps=400",
        "optimizer.lr=1e7",
        "optimizer.schedule=constant",
        "trainer.checkpoint_every=1",
        "trainer.steps_per_call=100",
    )
    with pytest.raises(DivergedError, match=r"not finite at step \d+: layer \d of 5 \((LowRankAffine|SmoothPReLU)\)"):
        train(config, tmp_path / "run")
    from flowlab import load_run

    run = load_run(tmp_path / "run")
    assert run.status["status"] == "failed"
    assert "not finite at step" in run.status["error"]
    assert "Traceback" in run.status["traceback"]
    assert all(parameter.isfinite().all() for parameter in run.load_flow("last").parameters())
    assert not run.result


def test_the_step_that_failed_is_found_whatever_the_length_of_a_call(tmp_path):
    messages = []
    for steps in (1, 100):
        overrides = (
            "max_steps=400",
            "optimizer.lr=1e7",
            "optimizer.schedule=constant",
            f"trainer.steps_per_call={steps}",
        )
        with pytest.raises(DivergedError) as caught:
            train(compose(*SMALL, *overrides), tmp_path / str(steps))
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_parameters_that_are_not_finite_are_never_saved(tmp_path):
    """The last update of a call does the damage: the loss before it was finite."""
    config = compose(*SMALL, "max_steps=40", "optimizer.lr=1e38", "trainer.checkpoint_every=1")
    with pytest.raises(DivergedError, match="parameters that are not finite|gave a"):
        train(config, tmp_path / "run")
    checkpoint = tmp_path / "run/checkpoints/last.ckpt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)["state_dict"]
        assert all(tensor.isfinite().all() for tensor in state.values())


def test_reverse_kl_fits_a_gaussian(tmp_path):
    config = compose(*SMALL, "target=gaussian_full", "objective=reverse_kl", "max_steps=600", "flow.depth=1")
    run = train(config, tmp_path / "run")
    assert run.result["kl"] < 0.01
    assert run.metrics["loss"].iloc[-1] == pytest.approx(0.0, abs=0.01)  # the objective is a KL
