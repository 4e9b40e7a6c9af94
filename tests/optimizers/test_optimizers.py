"""Each optimizer equals torch's, alone and in a stack; a run with it resumes at the same bits."""

import pytest
import torch

from flowlab import ConfigError, compose, load_run, resume, train
from flowlab.config.registry import lookup, names
from flowlab.optimizers import Adam
from flowlab.targets.base import Batch
from flowlab.training.step import Recipe, SingleStep, StackedStep, State, rates_of_steps

STEPS = 50
RATES = (0.1, 0.02, 0.003)
SETTINGS = [
    ("adam", {}),
    ("adam", {"betas": [0.8, 0.99], "eps": 1e-6, "clip": 0.5}),
    ("adamw", {"weight_decay": 0.1}),
    ("adamw", {"weight_decay": 0.01, "clip": 0.5}),
    ("sgd", {}),
    ("sgd", {"momentum": 0.9, "weight_decay": 0.1}),
    ("sgd", {"momentum": 0.5, "clip": 0.5}),
]


class Curved(torch.nn.Module):
    """A module with parameters of several shapes and a loss that is not quadratic."""

    def __init__(self, seed, dtype):
        super().__init__()
        draws = torch.Generator().manual_seed(seed)
        self.matrix = torch.nn.Parameter(torch.randn(3, 3, generator=draws, dtype=dtype))
        self.shift = torch.nn.Parameter(torch.randn(3, generator=draws, dtype=dtype))
        self.factor = torch.nn.Parameter(torch.ones((), dtype=dtype))

    def loss(self, x):
        y = torch.tanh(x @ self.matrix) + self.shift
        return self.factor.square() * (y - x.sin()).square().mean()


def points(job, step, dtype):
    draws = torch.Generator().manual_seed(1000 * job + step)
    return torch.randn(16, 3, generator=draws, dtype=dtype) * 10.0 ** (step % 3 - 1)  # gradients of several sizes


def train_by_torch(job, settings, dtype):
    """Return the parameters after training with torch's optimizer, scheduler and clipping."""
    module = Curved(job, dtype)
    optimizer = settings.for_torch(module.parameters())
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for step in range(STEPS):
        optimizer.zero_grad()
        module.loss(points(job, step, dtype)).backward()
        if settings.clip is not None:
            torch.nn.utils.clip_grad_norm_(module.parameters(), settings.clip)
        optimizer.step()
        if settings.schedule == "cosine":
            schedule.step()
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def train_by_flowlab(jobs, settings, dtype):
    """Return the parameters after training with flowlab's single or stacked step."""
    modules = [Curved(job, dtype) for job in jobs]
    recipe = Recipe(lambda module, batch: module.loss(batch.x), settings[0])
    step = SingleStep(modules[0], recipe) if len(jobs) == 1 else StackedStep(modules, recipe)
    numbers = torch.stack([torch.cat([p.detach().flatten() for p in module.parameters()]) for module in modules])
    alive = torch.ones(len(jobs), dtype=torch.bool)
    moments = tuple(torch.zeros_like(numbers) for _ in settings[0].moments)
    state = State(numbers, alive * 0, alive, numbers.new_zeros(len(jobs)), moments)
    for number, rates in rates_of_steps(settings, range(STEPS), STEPS, numbers):
        drawn = Batch(torch.stack([points(job, number, dtype) for job in jobs]))
        state, _ = step(state, drawn, rates)
    assert state.steps.tolist() == [STEPS] * len(jobs)
    return state.numbers


@pytest.mark.parametrize(
    ("name", "options"), SETTINGS, ids=lambda value: value if isinstance(value, str) else str(value)
)
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_equals_torch_alone_and_in_a_stack(name, options, schedule):
    dtype = torch.float64
    settings = [lookup("optimizer", name)(lr=lr, schedule=schedule, **options) for lr in RATES]
    expected = torch.stack([train_by_torch(job, each, dtype) for job, each in enumerate(settings)])
    assert (expected[0] - expected[1]).abs().max() > 1e-2, "the learning rates make no difference"
    close = {"rtol": 1e-9, "atol": 1e-10}
    torch.testing.assert_close(train_by_flowlab([0, 1, 2], settings, dtype), expected, **close)
    torch.testing.assert_close(train_by_flowlab([0], settings[:1], dtype), expected[:1], **close)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_equals_torch_in_single_precision(name):
    settings = lookup("optimizer", name)(lr=0.02)
    found, expected = train_by_flowlab([0], [settings], torch.float32)[0], train_by_torch(0, settings, torch.float32)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_every_optimizer_is_compared_with_torch():
    assert set(names("optimizer")) == {name for name, _ in SETTINGS}


@pytest.mark.parametrize("step", [0, 1, 37, 99])
def test_cosine_schedule_equals_torch(step):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
    for _ in range(step):
        optimizer.step()
        schedule.step()
    settings = lookup("optimizer", "adam")(lr=0.3)
    assert settings.learning_rate(step, 100) == pytest.approx(schedule.get_last_lr()[0], rel=1e-9)
    assert lookup("optimizer", "adam")(lr=0.3, schedule="constant").learning_rate(step, 100) == 0.3


def test_for_torch_passes_the_configured_settings():
    parameters = [torch.nn.Parameter(torch.zeros(2))]
    for words, expected in (
        (["optimizer.betas=[0.7,0.8]", "optimizer.eps=1e-3"], {"betas": (0.7, 0.8), "eps": 1e-3}),
        (["optimizer=adamw", "optimizer.weight_decay=0.2"], {"weight_decay": 0.2, "betas": (0.9, 0.999)}),
        (["optimizer=sgd", "optimizer.momentum=0.4"], {"momentum": 0.4, "weight_decay": 0.0}),
    ):
        (group,) = compose("optimizer.lr=0.3", *words).optimizer.for_torch(parameters).param_groups
        assert {"lr": 0.3, **expected}.items() <= group.items()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optimizer=sdg"], "optimizer=sdg.*sgd"),
        (["optimizer.lr=0"], "optimizer.lr=0.0: must be greater than 0"),
        (["optimizer.betas=[0.9,1.0]"], "optimizer.betas=.*two numbers from 0 to below 1"),
        (["optimizer=sgd", "optimizer.momentum=2"], "optimizer.momentum=2.0: must be at most 1"),
        (["optimizer=adamw", "optimizer.weight_decay=-1"], "optimizer.weight_decay=-1.0: must be at least 0"),
        (["optimizer.momentum=0.9"], "optimizer.momentum"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_settings_are_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        compose(*words)


@pytest.mark.parametrize(
    "words", [["optimizer=sgd", "optimizer.momentum=0.9"], ["optimizer=adamw", "optimizer.clip=5"]], ids=lambda w: w[0]
)
def test_resumed_run_ends_at_same_bits(tmp_path, interrupt, words):
    small = ("trainer.progress=off", "test_size=100", "validation_size=100", "flow.depth=2", "batch_size=64")
    config = compose(*small, *words, "optimizer.lr=0.001", "max_steps=120", "trainer.checkpoint_every=50")
    whole = train(config, tmp_path / "whole")
    interrupt(100, train, config, tmp_path / "stopped")
    assert load_run(tmp_path / "stopped").checkpoint("last")["global_step"] == 100
    resumed = resume(tmp_path / "stopped")
    first, second = whole.checkpoint("last"), resumed.checkpoint("last")
    assert all(torch.equal(second["state_dict"][name], tensor) for name, tensor in first["state_dict"].items())
    states = [each["optimizer_states"][0]["state"] for each in (first, second)]
    moments = compose(*words).optimizer.moments
    assert states[0].keys() == states[1].keys()
    for number in states[0]:
        assert set(states[0][number]) == {"step", *moments}
        assert all(torch.equal(states[0][number][name], states[1][number][name]) for name in states[0][number])


def test_warmup_raises_the_learning_rate_to_the_schedule():
    plain, warm = Adam(lr=0.1), Adam(lr=0.1, warmup=4)
    rates = [warm.learning_rate(step, 10) / plain.learning_rate(step, 10) for step in range(10)]
    assert rates == pytest.approx([0.25, 0.5, 0.75] + 7 * [1.0])
    assert Adam(lr=0.1, schedule="constant", warmup=2).learning_rate(0, 10) == pytest.approx(0.05)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_training_on_a_file_clips_and_warms_up_unless_told_otherwise(optimizer):
    on_file = ("target=file", "target.path=points.csv", f"optimizer={optimizer}")
    assert (compose(*on_file).optimizer.clip, compose(*on_file).optimizer.warmup) == (5.0, 200)
    own = compose(*on_file, "optimizer.clip=null", "optimizer.warmup=0").optimizer
    assert own == compose(f"optimizer={optimizer}").optimizer
    assert (own.clip, own.warmup) == (None, 0)
