"""A loss in mixed precision: the same on every way to train, and nothing else of a run is lowered."""

import json

import pytest
import torch
from flowlab.objectives.objective import Mixed, ReverseKL
from flowlab.training.initial_flow import initial_flow
from flowlab.training.optimizer import build_optimizer

from flowlab import ConfigError, Flow, compose, load_run, resume, train
from flowlab.bijectors import SmoothPReLU
from flowlab.distributions.base import StandardNormal
from flowlab.metrics._evaluate import evaluate
from flowlab.sweeps.groups import stack_key
from flowlab.sweeps.train_many import train_many
from flowlab.targets.gaussian import Gaussian
from flowlab.training.compile import trace
from flowlab.training.state import read_state
from flowlab.training.step import Step
from flowlab.training.train import what_to_minimise

MIXED = "trainer.precision=bf16-mixed"
SMALL = ("trainer.progress=off", "trainer.compile=false", "test_size=500", "validation_size=500", "flow.depth=2")


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    """What is compiled here is forgotten afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
        yield
    torch._dynamo.reset()


def gradients(words):
    """The gradient of the first step and its loss: as Lightning's loop takes them, and the step of a stack."""
    config = compose(*SMALL, *words)
    target = config.target.build()
    flow = initial_flow(config, target)
    stream, objective = what_to_minimise(config, flow, target, "cpu")
    loss = objective(flow, stream(0))
    loss.backward()
    assert {loss.dtype, *(parameter.grad.dtype for parameter in flow.parameters())} == {torch.float32}
    eager = torch.cat([parameter.grad.flatten() for parameter in flow.parameters()]), loss.detach()
    step = Step([flow], objective, config.optimizer, stream.place)
    state = read_state([flow], [build_optimizer(config.optimizer, flow.parameters())], 0)
    return eager, step.gradients, (state.numbers, stream.draw(0)[None])


def error(found, expected):
    """Of a gradient relative to its length, and of a loss in nats."""
    return float((found[0] - expected[0]).norm() / expected[0].norm()), float((found[1] - expected[1]).abs())


@pytest.mark.parametrize(
    "words",
    [[], ["target=funnel", "target.dim=5"], ["target=gaussian_full", "objective=reverse_kl"]],
    ids=lambda words: " ".join(words) or "banana",
)
def test_every_way_to_train_takes_the_same_loss(words):
    exact = gradients(words)[0]
    eager, step, arguments = gradients([*words, MIXED])
    assert 1e-4 < error(eager, exact)[0] < 2e-2
    assert max(error(step(*arguments), eager)) < 1e-5
    assert max(error(trace(step, *arguments)(*arguments), eager)) < 1e-4


def test_the_density_of_the_target_stays_in_full_precision():
    flow, target = Flow(StandardNormal(2), SmoothPReLU(0.5)), Gaussian((1.0, 1.0), ((2.0, 0.3), (0.7, 1.1)))
    objective, batch = ReverseKL(target), torch.randn(64, 2)
    assert torch.equal(Mixed(objective)(flow, batch), objective(flow, batch))


def test_runs_of_every_way_agree(tmp_path):
    """Roundings to 8 digits that fall otherwise grow, but not to what bfloat16 changes."""
    words = (*SMALL, "max_steps=20", "trainer.log_every=5")
    exact = train(compose(*words), tmp_path / "exact")
    eager = train(compose(*words, MIXED), tmp_path / "eager")
    compiled = train(compose(*words, MIXED, "trainer.compile=true"), tmp_path / "compiled")
    stacked = train_many([compose(*words, MIXED, f"seed={seed}") for seed in (0, 1)], [tmp_path / "0", tmp_path / "1"])[
        0
    ]
    exact, *losses = [torch.tensor(run.metrics["loss"].to_numpy()) for run in (exact, eager, compiled, stacked)]
    of_bfloat16 = (exact - losses[0]).abs().max()
    for loss in losses[1:]:
        assert (loss - losses[0]).abs().max() < 0.1 * of_bfloat16
    assert all(tensor.dtype == torch.float32 for tensor in eager.load_flow("last").state_dict().values())


def test_evaluation_is_in_full_precision(tmp_path):
    config = compose(*SMALL, MIXED, "max_steps=20")
    run = train(config, tmp_path / "run")
    flow, target = run.load_flow("last"), config.target.build()
    rows = target.rows("test", config.test_size, config.seed, torch.float64).float()
    by_hand = evaluate(flow, rows, target)
    for name in ("nll", "kl", "inverse_error"):
        assert run.result[name] == getattr(by_hand, name), name
    rows = target.rows("validation", config.validation_size, config.seed, torch.float32)
    assert run.metrics["nll"].dropna().iloc[-1] == evaluate(flow, rows, target).nll
    with torch.autocast("cpu", torch.bfloat16):  # what that would have said
        lowered = evaluate(flow, rows, target)
    assert lowered.inverse_error > 100 * by_hand.inverse_error


def test_what_bfloat16_cannot_train_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"trainer.precision=bf16-mixed: .* dtype=float64; use dtype=float32 or"):
        train(compose(*SMALL, MIXED, "dtype=float64"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match=r"trainer.precision='16-mixed': .*allowed: full, bf16-mixed"):
        compose("trainer.precision=16-mixed")


def test_jobs_of_two_precisions_are_not_stacked():
    assert stack_key(compose(), 2) != stack_key(compose(MIXED), 2)


def test_a_run_from_before_the_choice_goes_on_in_full(tmp_path):
    run = train(compose(*SMALL, "max_steps=10"), tmp_path / "run")
    path = run.directory / "config.yaml"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "precision:" not in line))
    (run.directory / "status.json").write_text(json.dumps({"status": "interrupted"}))
    assert load_run(run.directory).config.trainer.precision == "full"
    assert resume(run.directory).done
