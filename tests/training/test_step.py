"""The training step as a function of tensors, and the traced operations for the compiler."""

import copy

import pytest
import torch

from flowlab import compose
from flowlab.targets.base import Batch
from flowlab.training.build import build, build_batches
from flowlab.training.compile import trace
from flowlab.training.step import (
    Recipe,
    SingleStep,
    StackedStep,
    State,
    flatten,
    new_state,
    optimizer_state,
    rates_of_steps,
    read_state,
    trained,
    write_parameters,
)


def new_step(*words):
    """Return an experiment, its minibatches, and the recipe of its step."""
    experiment = build(compose("batch_size=32", "flow.depth=3", *words))
    config, flow, target = experiment.config, experiment.flow, experiment.target
    batches = build_batches(experiment.objective, flow, target, config.seed, 32, experiment.dtype, "cpu")
    mixed = config.trainer.precision == "bf16-mixed"
    recipe = Recipe(
        lambda module, batch: experiment.objective(module, batch, target),
        experiment.optimizer,
        batches.from_draws,
        mixed,
    )
    return experiment, batches, recipe


def stack(drawn):
    return Batch(*(torch.stack(tensors) for tensors in zip(*(each.tensors() for each in drawn), strict=True)))


def rates_of(optimizers, like, steps=1):
    return [rates for _, rates in rates_of_steps(optimizers, range(steps), 100, like)]


ARCHITECTURES = [
    ["target=banana"],
    ["target=gaussian_full", "flow=prelu", "flow.final_activation=true"],
    ["target=two_moons", "flow.slope=vector"],
    ["target=eight_gaussians", "flow.rank=0", "flow.scale=diag"],
    ["target=checkerboard", "flow.weighted=true", "optimizer.clip=0.1"],
    ["target=uniform", "flow.rank=1"],
    ["target=funnel", "target.dim=3", "flow.rank=3"],
    ["target=funnel", "target.dim=5", "optimizer=adamw"],
    ["target=funnel", "target.dim=20", "optimizer=sgd", "optimizer.momentum=0.5"],
    ["target.train_size=100"],
    ["target=gaussian_full", "objective=reverse_kl"],
    ["flow.activation=tanh", "flow.initialization=covering"],
]


@pytest.mark.parametrize("words", ARCHITECTURES, ids=" ".join)
@pytest.mark.parametrize("jobs", [1, 3])
def test_traced_operations_equal_the_step(words, jobs):
    """The trace replaces library calls by arithmetic, with the same results up to rounding."""
    made = [new_step("dtype=float64", f"seed={seed}", *words) for seed in range(jobs)]
    flows = [experiment.flow for experiment, _, _ in made]
    optimizers = [experiment.optimizer for experiment, _, _ in made]
    step = StackedStep(flows, made[0][2])
    state = new_state(flows, optimizers[0])
    drawn = stack([batches.draw(0) for _, batches, _ in made])
    rates = rates_of(optimizers, state.numbers)[0]
    expected, losses = step(state, drawn, rates)

    def function(rates, x, *tensors):
        after, losses = step(State.of_tensors(tensors), Batch(x), rates)
        return (losses, *after.tensors())

    arguments = (rates, drawn.x, *state.tensors())
    traced = trace(function, *arguments)
    found_losses, *found = traced(*arguments)
    torch.testing.assert_close(found_losses, losses, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(State.of_tensors(found).tensors(), expected.tensors(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    called = {str(node.target) for node in traced.graph.nodes}
    assert "aten.hypot.default" not in called
    objective = made[0][0].config.objective.name
    if jobs == 1 and flows[0].base.event_shape[-1] <= 3 and objective == "maximum_likelihood":
        assert not called & {"aten.mm.default", "aten.bmm.default", "aten.linalg_lu_factor_ex.default"}, called


@pytest.mark.parametrize("words", ARCHITECTURES, ids=" ".join)
def test_stacked_step_equals_single_steps(words):
    made = [
        new_step("dtype=float64", f"seed={seed}", f"optimizer.lr={lr}", *words)
        for seed, lr in enumerate((0.1, 0.01, 0.001))
    ]
    flows = [experiment.flow for experiment, _, _ in made]
    optimizers = [experiment.optimizer for experiment, _, _ in made]
    together = StackedStep([copy.deepcopy(flow) for flow in flows], made[0][2])
    state = new_state(flows, optimizers[0])
    alone = [SingleStep(flow, recipe) for flow, (_, _, recipe) in zip(flows, made, strict=True)]
    states = [new_state([flow], optimizer) for flow, optimizer in zip(flows, optimizers, strict=True)]
    for number, rates in enumerate(rates_of(optimizers, state.numbers, 3)):
        draws = [batches.draw(number) for _, batches, _ in made]
        state, losses = together(state, stack(draws), rates)
        for place in range(3):
            states[place], loss = alone[place](states[place], stack([draws[place]]), rates[:, place : place + 1])
            torch.testing.assert_close(losses[place : place + 1], loss, rtol=1e-10, atol=1e-10)
    for place in range(3):
        torch.testing.assert_close(state.numbers[place], states[place].numbers[0], rtol=1e-8, atol=1e-10)


def test_failed_job_keeps_its_parameters():
    experiment, batches, recipe = new_step("dtype=float64")
    flows = [experiment.flow, copy.deepcopy(experiment.flow)]
    step = StackedStep(flows, recipe)
    state = new_state(flows, experiment.optimizer)
    state = state._replace(steps=state.steps + 7)
    drawn = stack([batches.draw(0)] * 2)
    drawn.x[1, 5] = torch.nan
    rates = rates_of([experiment.optimizer] * 2, state.numbers)[0]
    after, losses = step(state, drawn, rates)
    assert losses.isfinite().tolist() == after.alive.tolist() == [True, False]
    assert after.steps.tolist() == [8, 7]
    assert torch.equal(after.numbers[1], state.numbers[1])
    assert not torch.equal(after.numbers[0], state.numbers[0])
    again, losses = step(after, stack([batches.draw(1)] * 2), rates)
    assert losses.isfinite().all()
    assert again.alive.tolist() == [True, False], "a failed job stays failed"
    assert again.steps.tolist() == [9, 7]
    assert torch.equal(again.numbers[1], state.numbers[1])


def test_step_does_not_change_its_arguments():
    experiment, batches, recipe = new_step("dtype=float64")
    for step in (StackedStep([experiment.flow], recipe), SingleStep(experiment.flow, recipe)):
        state = new_state([experiment.flow], experiment.optimizer)
        before = [tensor.clone() for tensor in state.tensors()]
        after, _ = step(state, stack([batches.draw(0)]), rates_of([experiment.optimizer], state.numbers)[0])
        assert all(torch.equal(first, second) for first, second in zip(before, state.tensors(), strict=True))
        assert not torch.equal(after.numbers, state.numbers)


@pytest.mark.parametrize(
    "words", [["optimizer=adam"], ["optimizer=adamw"], ["optimizer=sgd", "optimizer.momentum=0.9"]]
)
def test_saved_state_resumes_in_flowlab_and_in_torch(words):
    """A checkpoint has the layout of torch's optimizers, so a torch optimizer can take the next step."""
    experiment, batches, recipe = new_step("dtype=float64", *words, "optimizer.schedule=constant", "optimizer.lr=0.001")
    flow, chosen = experiment.flow, experiment.optimizer
    step, state = SingleStep(flow, recipe), new_state([flow], chosen)
    *first, last = rates_of([chosen], state.numbers, 4)
    for number, rates in enumerate(first):
        state, _ = step(state, stack([batches.draw(number)]), rates)
    write_parameters(state, 0, flow)
    saved = optimizer_state(state, 0, flow, chosen, 0.001)
    other = new_step("dtype=float64", "seed=9", *words)[0].flow
    other.load_state_dict(flow.state_dict())
    read = read_state([other], chosen, [saved], 3)
    for name, ours, theirs in zip([*State._fields[:4], *chosen.moments], read.tensors(), state.tensors(), strict=True):
        assert name == "grad_norms" or torch.equal(ours, theirs), name

    theirs = chosen.for_torch(other.parameters())
    theirs.load_state_dict({"state": saved["state"], "param_groups": theirs.state_dict()["param_groups"]})
    recipe.loss(other, batches(3)).backward()
    theirs.step()
    state, _ = step(state, stack([batches.draw(3)]), last)
    torch.testing.assert_close(flatten(trained(other)), state.numbers[0], rtol=1e-9, atol=1e-10)
