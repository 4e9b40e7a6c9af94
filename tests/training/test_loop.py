"""The training loop equals plain torch, counts steps correctly, and ends clearly if the loss is not finite."""

import copy

import pytest
import torch

from flowlab import compose, load_run, resume, train
from flowlab.bijectors import AffineScalar, LowRankAffine
from flowlab.config.schema import TrainerConfig
from flowlab.distributions.base import StandardNormal
from flowlab.flow import Flow
from flowlab.flows._assemble import assemble
from flowlab.optimizers import Adam
from flowlab.runs.record import Checkpoints, Record
from flowlab.seeding import generator
from flowlab.targets import Banana
from flowlab.targets.base import Batch
from flowlab.training.build import Batches
from flowlab.training.divergence import DivergedError
from flowlab.training.loop import Job, Loop

SMALL = ("trainer.progress=off", "test_size=500", "validation_size=500", "flow.depth=3", "batch_size=64")


def weights(run):
    return torch.cat([p.detach().flatten() for p in run.load_flow("last").parameters()])


def test_train_equals_a_plain_torch_loop(tmp_path):
    run = train(compose(*SMALL, "max_steps=60", "dtype=float64", "seed=3"), tmp_path / "run")
    flow = assemble(run.config.flow, (2,), None, generator(3, "start"), dtype=torch.float64)
    optimizer = torch.optim.Adam(flow.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 60)
    for step in range(60):
        optimizer.zero_grad()
        points = Banana().sample(64, generator(3, "train", step), torch.float64)
        (-flow.log_prob(points).mean()).backward()
        optimizer.step()
        schedule.step()
    torch.testing.assert_close(
        weights(run), torch.cat([p.detach().flatten() for p in flow.parameters()]), rtol=1e-9, atol=1e-9
    )


def test_results_do_not_depend_on_logging_intervals(tmp_path):
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


def test_step_counts_agree(tmp_path):
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


def test_non_finite_loss_ends_the_run(tmp_path):
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
    run = load_run(tmp_path / "run")
    assert run.status["status"] == "failed"
    assert "not finite at step" in run.status["error"]
    assert "Traceback" in run.status["traceback"]
    assert all(parameter.isfinite().all() for parameter in run.load_flow("last").parameters())
    assert not run.result


def test_failed_step_is_found_for_any_steps_per_call(tmp_path):
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


def test_non_finite_parameters_are_never_saved(tmp_path):
    """The last update of a call makes parameters non-finite although the loss before it was finite."""
    config = compose(*SMALL, "max_steps=40", "optimizer.lr=1e38", "trainer.checkpoint_every=1")
    with pytest.raises(DivergedError, match="parameters that are not finite|gave a"):
        train(config, tmp_path / "run")
    checkpoint = tmp_path / "run/checkpoints/last.ckpt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)["state_dict"]
        assert all(tensor.isfinite().all() for tensor in state.values())


def quiet_trainer(**settings):
    return TrainerConfig(progress="off", compile="false", **settings)


def points(seed, count=64):
    return 3 + 2 * torch.randn(count, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def new_job(module, settings, max_steps, seed=0, lr=0.05, loss=None):
    """Return a job without a directory, with minibatches from a seed."""
    optimizer = Adam(lr=lr)
    return Job(
        module=module,
        loss=loss or (lambda flow, batch: -flow.log_prob(batch.x).mean()),
        optimizer=optimizer,
        batches=Batches(lambda step: Batch(points(1000 * seed + step))),
        record=Record(settings, max_steps, optimizer, None),
        checkpoints=Checkpoints(settings, max_steps, None, finite=False),
    )


def run(modules, max_steps=20, **options):
    settings = quiet_trainer()
    jobs = [new_job(each, settings, max_steps, seed, **options) for seed, each in enumerate(modules)]
    loop = Loop(jobs, settings, max_steps)
    loop.run()
    return loop


def affine(seed=0, dim=2):
    draws = torch.Generator().manual_seed(seed)
    return LowRankAffine(dim, 1, "tril", False, 0.5, 0.5, draws).double()


def flow_of(*layers):
    bijector = layers[0]
    for layer in layers[1:]:
        bijector = bijector | layer
    return Flow(StandardNormal(2), bijector).double()


def flow_with_frozen_layer():
    first, last = affine(0), affine(1)
    first.requires_grad_(False)
    return flow_of(first, last)


def flow_with_shared_layer():
    layer = affine(2)
    return flow_of(layer, AffineScalar(scale=2.0), layer)


@pytest.mark.parametrize("make", [flow_with_frozen_layer, flow_with_shared_layer], ids=lambda make: make.__name__)
@pytest.mark.parametrize("jobs", [1, 2])
def test_frozen_and_shared_parameters_are_trained_as_by_torch(make, jobs):
    flows = [make() for _ in range(jobs)]
    by_hand, before = [make() for _ in range(jobs)], make().state_dict()
    run(flows)
    for seed, expected in enumerate(by_hand):
        optimizer = torch.optim.Adam([p for p in expected.parameters() if p.requires_grad], lr=0.05)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
        for step in range(20):
            optimizer.zero_grad()
            (-expected.log_prob(points(1000 * seed + step)).mean()).backward()
            optimizer.step()
            schedule.step()
        for name, tensor in expected.state_dict().items():
            torch.testing.assert_close(flows[seed].state_dict()[name], tensor, rtol=1e-9, atol=1e-10, msg=name)
    for name, parameter in flows[0].named_parameters():
        assert torch.equal(parameter, before[name]) != parameter.requires_grad, name


def test_frozen_parameters_of_stacked_jobs_stay_separate():
    flows = [flow_with_frozen_layer(), flow_with_frozen_layer()]
    with torch.no_grad():
        for parameter in flows[1].parameters():
            parameter.mul_(1.5)
    alone = copy.deepcopy(flows[1])
    run(flows)
    settings = quiet_trainer()
    Loop([new_job(alone, settings, 20, seed=1)], settings, 20).run()
    for name, tensor in alone.state_dict().items():
        torch.testing.assert_close(flows[1].state_dict()[name], tensor, rtol=1e-9, atol=1e-10, msg=name)


def test_parameters_own_their_memory_after_training():
    """During training the parameters are views of one flattened row."""
    flow = flow_of(affine(0), affine(1))
    run([flow])
    storages = {parameter.untyped_storage().data_ptr() for parameter in flow.parameters()}
    assert len(storages) == len(list(flow.parameters()))
    assert all(parameter.untyped_storage().nbytes() == 8 * parameter.numel() for parameter in flow.parameters())


class FiniteLossNaNGradient(torch.nn.Module):
    """A module whose loss is finite, and whose gradient is NaN below 0."""

    def __init__(self):
        super().__init__()
        self.number = torch.nn.Parameter(torch.tensor(0.12, dtype=torch.float64))

    def loss(self, x):
        return torch.where(self.number > 0, self.number.sqrt(), 0.0)


def test_non_finite_gradient_of_a_finite_loss_ends_the_job():
    module = FiniteLossNaNGradient()
    loop = run([module], loss=lambda module, batch: module.loss(batch.x))
    (job,) = loop.jobs
    assert isinstance(job.failure, DivergedError)
    assert str(job.failure) == f"the gradient is not finite at step {loop.state.steps[0]}, though the loss is"
    assert 0 < loop.state.steps[0] < 20
    assert module.number.isfinite()


def test_failed_job_does_not_stop_the_others():
    def batch_with_nan_at_step_7(step):
        return Batch(points(step).where(torch.tensor(step != 7), torch.nan))

    flows, expected = [flow_of(affine(0)), flow_of(affine(1))], flow_of(affine(1))
    settings = quiet_trainer()
    jobs = [new_job(flow, settings, 20, seed) for seed, flow in enumerate(flows)]
    jobs[0].batches = Batches(batch_with_nan_at_step_7)
    loop = Loop(jobs, settings, 20)
    loop.run()
    assert (
        str(jobs[0].failure)
        == "the loss is not finite at step 7: the minibatch itself holds values that are not finite"
    )
    assert jobs[1].failure is None
    assert loop.state.steps.tolist() == [7, 20]
    Loop([new_job(expected, settings, 20, seed=1)], settings, 20).run()
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(flows[1].state_dict()[name], tensor, rtol=1e-9, atol=1e-10, msg=name)


@pytest.mark.parametrize("target", ["banana", "two_moons"])
def test_max_time_ends_a_run_with_a_result_and_a_last_validation(tmp_path, target):
    finite = ("target.train_size=200",) if target == "two_moons" else ()
    words = (*SMALL, f"target={target}", *finite, "max_steps=1000000", "trainer.compile=false", "trainer.max_time=0.2")
    run = train(compose(*words, "trainer.validate_every=100000"), tmp_path / "run")
    result, last = run.result, run.metrics.iloc[-1]
    assert (run.status["status"], result["ended_by"]) == ("done", "max_time")
    assert 0.2 <= result["seconds"] < 0.6
    assert last["step"] == result["steps"] == run.checkpoint("last")["global_step"] < 1_000_000
    assert last["nll"] > 0
    assert last["lr"] == pytest.approx(0.01, rel=1e-3), "the schedule is that of max_steps"
    (run.directory / "status.json").write_text('{"status": "running"}')
    assert resume(run.directory).result["steps"] == result["steps"], "its time is up when it resumes"


def test_max_time_is_the_time_of_each_job_of_a_stack():
    settings = quiet_trainer(max_time=0.1)
    jobs = [new_job(flow_of(affine(seed)), settings, 10**6, seed) for seed in range(2)]
    loop = Loop(jobs, settings, 10**6)
    loop.run()
    assert all(0.1 <= job.record.seconds < 0.3 for job in jobs)
    assert loop.state.steps[0] == loop.state.steps[1] == loop.step
