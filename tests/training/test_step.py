"""The step as a function of tensors: Adam is torch's, and what is traced for the compiler is the step."""

import pytest
import torch
from flowlab.training.initial_flow import initial_flow
from flowlab.training.optimizer import build_optimizer, learning_rate

from flowlab import compose
from flowlab.training.compile import trace
from flowlab.training.state import State, read_state, write_state
from flowlab.training.step import Step, adam_rates
from flowlab.training.train import what_to_minimise


def job(*words):
    config = compose("batch_size=32", "flow.depth=3", *words)
    target = config.target.build()
    flow = initial_flow(config, target)
    return config, flow, *what_to_minimise(config, flow, target, "cpu")


def step_of(config, flows, stream, objective):
    return Step(flows, objective, config.optimizer, stream.place)


@pytest.mark.parametrize("clip", ["null", "0.5"])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_adam_is_torchs(dtype, clip, schedule):
    """200 steps on gradients of all sizes, two jobs with rates of their own."""
    words = ("max_steps=200", "optimizer.betas=[0.8,0.99]", "optimizer.eps=1e-6", f"optimizer.clip={clip}")
    configs = [compose(*words, f"optimizer.schedule={schedule}", f"optimizer.lr={rate}") for rate in (0.1, 0.003)]
    config, flow, stream, objective = job(*words)
    step = step_of(config, [flow], stream, objective)
    draws = torch.Generator().manual_seed(0)
    start = torch.randn(2, 7, dtype=dtype, generator=draws)
    parameters = [torch.nn.Parameter(row.clone()) for row in start]
    optimizers = [torch.optim.Adam([parameter], betas=(0.8, 0.99), eps=1e-6) for parameter in parameters]
    zeros, alive = torch.zeros_like(start), torch.ones(2, dtype=torch.bool)
    state = State(start, zeros, zeros, alive * 0, alive, zeros[:, 0])
    for number, rates in enumerate(adam_rates(configs, range(200), start)):
        gradients = torch.randn(2, 7, dtype=dtype, generator=draws) * 10.0 ** (number % 7 - 3)
        state = step.update(state, gradients, gradients[:, 0], *rates)
        for config, parameter, optimizer, gradient in zip(configs, parameters, optimizers, gradients, strict=True):
            parameter.grad = gradient.clone()
            if config.optimizer.clip is not None:
                torch.nn.utils.clip_grad_norm_([parameter], config.optimizer.clip)
            optimizer.param_groups[0]["lr"] = learning_rate(config.optimizer, number, 200)
            optimizer.step()
    torch.testing.assert_close(state.numbers, torch.stack([p.detach() for p in parameters]), rtol=1e-6, atol=1e-7)
    assert state.steps.tolist() == [200, 200]


@pytest.mark.parametrize(
    "words",
    [
        ["target=banana"],
        ["target=gaussian_full", "flow=prelu", "flow.final_activation=true"],
        ["target=two_moons", "flow.slope=vector"],
        ["target=eight_gaussians", "flow.rank=0", "flow.scale=diag"],
        ["target=checkerboard", "flow.weighted=true", "optimizer.clip=0.1"],
        ["target=uniform", "flow.rank=1"],
        ["target=funnel", "target.dim=3", "flow.rank=3"],
        ["target=funnel", "target.dim=5"],
        ["target=funnel", "target.dim=20"],
        ["target.train_size=100"],
        ["target=gaussian_full", "objective=reverse_kl"],
        ["flow.activation=tanh", "flow.initialization=covering"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("jobs", [1, 3])
def test_what_is_traced_is_the_step(words, jobs):
    """In place of calls the compiler gets arithmetic: the same numbers up to rounding."""
    made = [job("dtype=float64", f"seed={seed}", *words) for seed in range(jobs)]
    configs, flows, streams, objectives = zip(*made, strict=True)
    step = step_of(configs[0], flows, streams[0], objectives[0])
    optimizers = [
        build_optimizer(config.optimizer, flow.parameters()) for config, flow in zip(configs, flows, strict=True)
    ]
    state = read_state(flows, optimizers, 0)
    drawn = torch.stack([stream.draw(0) for stream in streams])
    arguments = (state, drawn, *next(adam_rates(configs, range(1), state.numbers)))
    traced = trace(step, *arguments)
    expected, losses = step(*arguments)
    found, found_losses = traced(*arguments)
    torch.testing.assert_close(found_losses, losses, rtol=1e-12, atol=1e-12)
    for name, values in zip(State._fields, expected, strict=True):
        torch.testing.assert_close(found[State._fields.index(name)], values, rtol=1e-9, atol=1e-12, msg=name)
    called = {str(node.target) for node in traced.graph.nodes}
    assert "aten.hypot.default" not in called
    if jobs == 1 and flows[0].base.event_shape[-1] <= 3 and configs[0].objective.name == "maximum_likelihood":
        assert not called & {"aten.mm.default", "aten.bmm.default", "aten.linalg_lu_factor_ex.default"}, called


def test_a_job_that_fails_keeps_its_numbers():
    config, flow, stream, objective = job("dtype=float64")
    step = step_of(config, [flow, flow], stream, objective)
    optimizer = build_optimizer(config.optimizer, flow.parameters())
    state = read_state([flow, flow], [optimizer, optimizer], 7)
    drawn = stream.draw(0).repeat(2, 1, 1)
    drawn[1, 5] = torch.nan
    rates = next(adam_rates([config, config], range(1), state.numbers))
    after, losses = step(state, drawn, *rates)
    assert losses.isfinite().tolist() == after.alive.tolist() == [True, False]
    assert after.steps.tolist() == [8, 7]
    assert torch.equal(after.numbers[1], state.numbers[1])
    assert not torch.equal(after.numbers[0], state.numbers[0])
    again, losses = step(after, stream.draw(1).repeat(2, 1, 1), *rates)
    assert losses.isfinite().all()
    assert again.alive.tolist() == [True, False], "also where its loss is finite again"
    assert again.steps.tolist() == [9, 7]
    assert torch.equal(again.numbers[1], state.numbers[1])


def test_a_flow_and_its_optimizer_become_a_row_and_come_back():
    config, flow, stream, _ = job("dtype=float64")
    optimizer = build_optimizer(config.optimizer, flow.parameters())
    for number in range(3):
        optimizer.zero_grad()
        (-flow.log_prob(stream(number)).mean()).backward()
        optimizer.step()
    state = read_state([flow], [optimizer], 3)
    other = job("dtype=float64", "seed=9")[1]
    of_other = build_optimizer(config.optimizer, other.parameters())
    write_state(state, 0, other, of_other)
    for name, tensor in flow.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)
    first, second = optimizer.state_dict()["state"], of_other.state_dict()["state"]
    assert first.keys() == second.keys()
    for number, moments in first.items():
        assert all(torch.equal(second[number][name], tensor) for name, tensor in moments.items())
