"""Every registered objective trains alone, stacked, compiled, resumed, in mixed precision, by fit and by Lightning."""

import copy
import dataclasses

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from flowlab import ConfigError, FlowModule, compose, fit, train
from flowlab.config.component import as_typed
from flowlab.config.registry import lookup, names
from flowlab.sweeps.train_many import stack_key
from flowlab.targets.base import Batch
from flowlab.training.build import build, build_batches
from flowlab.training.compile import trace
from flowlab.training.step import (
    Recipe,
    SingleStep,
    StackedStep,
    State,
    new_state,
    optimizer_state,
    rates_of_steps,
    read_state,
    write_parameters,
)

TARGET = "target=gaussian_full"
SMALL = ("trainer.progress=off", "test_size=200", "validation_size=200", "batch_size=32", "flow.depth=2", TARGET)
LIGHTNING = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "logger": False}


def variants(name):
    """Return the settings of an objective that a test should try: each choice of each word, and annealing."""
    component = lookup("objective", name)
    fields = {item.name: item for item in dataclasses.fields(component)}
    found = [{}]
    found += [{key: choice} for key, item in fields.items() for choice in item.metadata.get("choices", ())[1:]]
    return [{**each, "anneal": 3} for each in found] + found[1:] if "anneal" in fields else found


def trains_on_the_target(name):
    target = compose(TARGET).target.build()
    try:
        as_typed(lookup("objective", name), {}, "").check_training(target, None)
    except ConfigError:  # it is for targets of another kind
        return False
    return True


OBJECTIVES = [(name, each) for name in names("objective") if trains_on_the_target(name) for each in variants(name)]
IDS = [" ".join([name, *(f"{key}={value}" for key, value in each.items())]) for name, each in OBJECTIVES]
over_objectives = pytest.mark.parametrize(("name", "settings"), OBJECTIVES, ids=IDS)


def words(name, settings):
    return [f"objective={name}", *(f"objective.{key}={value}" for key, value in settings.items())]


def new_step(flow_words, name, settings, seed=0):
    """Return an experiment, its minibatches, and the recipe of its step."""
    given = (*SMALL, "dtype=float64", f"seed={seed}", *flow_words, *words(name, settings))
    experiment = build(compose(*given, "max_steps=10"))
    flow, target = experiment.flow, experiment.target
    batches = build_batches(experiment.objective, flow, target, seed, 32, experiment.dtype, "cpu")
    loss = lambda module, batch: experiment.objective(module, batch, target)  # noqa: E731
    return experiment, batches, Recipe(loss, experiment.optimizer, batches.from_draws)


def stack(draws):
    return Batch(torch.stack([each.x for each in draws]))


def test_the_loop_covers_the_objectives():
    assert {"maximum_likelihood", "reverse_kl", "forward_kl"} <= {name for name, _ in OBJECTIVES}
    assert ("reverse_kl", {"gradient": "path", "anneal": 3}) in OBJECTIVES


@over_objectives
@pytest.mark.parametrize("flow", ["smooth_prelu", "iaf"])
def test_single_stacked_and_traced_steps_are_equal(flow, name, settings):
    """Six steps, of which three are annealed, of two jobs: alone, together, and as the compiler sees them."""
    flow_words = [f"flow={flow}", *(["flow.hidden=[6]"] if flow == "iaf" else [])]
    made = [new_step(flow_words, name, settings, seed) for seed in (0, 1)]
    flows, optimizer = [experiment.flow for experiment, _, _ in made], made[0][0].optimizer
    stacked = StackedStep([copy.deepcopy(each) for each in flows], made[0][2])
    state = new_state(flows, optimizer)
    singles = [SingleStep(each, recipe) for each, (_, _, recipe) in zip(flows, made, strict=True)]
    states = [new_state([each], optimizer) for each in flows]
    for step, rates in rates_of_steps([optimizer] * 2, range(6), 6, state.numbers):
        drawn = [batches.draw(step) for _, batches, _ in made]
        before = state
        state, losses = stacked(state, stack(drawn), rates)
        for place in (0, 1):
            states[place], loss = singles[place](states[place], stack([drawn[place]]), rates[:, place : place + 1])
            torch.testing.assert_close(losses[place : place + 1], loss, rtol=1e-9, atol=1e-9)
    for place in (0, 1):
        torch.testing.assert_close(state.numbers[place], states[place].numbers[0], rtol=1e-6, atol=1e-8)

    def function(rates, x, *tensors):
        after, losses = stacked(State.of_tensors(tensors), Batch(x), rates)
        return (losses, *after.tensors())

    arguments = (rates, stack(drawn).x, *before.tensors())
    found = trace(function, *arguments)(*arguments)
    for ours, theirs in zip(found, (losses, *state.tensors()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


@over_objectives
def test_a_resumed_job_takes_the_same_steps(name, settings):
    """What a checkpoint keeps at step 2, in the middle of annealing, gives the same steps to the last bit."""
    experiment, batches, recipe = new_step([], name, settings)
    flow, optimizer = experiment.flow, experiment.optimizer
    restored = copy.deepcopy(flow)
    step, state = SingleStep(flow, recipe), new_state([flow], optimizer)
    rates = list(rates_of_steps([optimizer], range(6), 6, state.numbers))
    for number, each in rates[:2]:
        state, _ = step(state, stack([batches.draw(number)]), each)
    write_parameters(state, 0, restored)
    saved = optimizer_state(state, 0, restored, optimizer, 0.01)
    for number, each in rates[2:]:
        state, _ = step(state, stack([batches.draw(number)]), each)
    resumed, later = (read_state([restored], optimizer, [saved], steps) for steps in (2, 100))
    resumed_step = SingleStep(restored, recipe)
    first, after = (resumed_step(each, stack([batches.draw(2)]), rates[2][1])[0] for each in (resumed, later))
    assert torch.equal(first.numbers, after.numbers) != ("anneal" in settings), "the number of the step matters"
    for number, each in rates[2:]:
        resumed, _ = resumed_step(resumed, stack([batches.draw(number)]), each)
    for ours, theirs in zip(resumed.tensors(), state.tensors(), strict=True):
        assert torch.equal(ours, theirs)


@over_objectives
def test_mixed_precision_stays_near_full_precision(name, settings):
    given = (*SMALL, "flow=realnvp", "flow.hidden=[16]", "max_steps=10", *words(name, settings))
    experiment = build(compose(*given))
    with torch.no_grad():
        for parameter in experiment.flow.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    batch = build_batches(experiment.objective, experiment.flow, experiment.target, 0, 256, torch.float32, "cpu")(0)
    found = {}
    for mixed in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = experiment.objective(experiment.flow, batch, experiment.target)
        assert loss.dtype == torch.float32
        parts = torch.autograd.grad(loss, list(experiment.flow.parameters()))
        found[mixed] = torch.cat([part.flatten() for part in parts])
    assert (found[True] - found[False]).norm() < 0.1 * found[False].norm()


@over_objectives
def test_fit_takes_the_steps_of_a_run(name, settings, tmp_path):
    given = (*SMALL, "optimizer.schedule=constant", "max_steps=8", *words(name, settings))
    run = train(compose(*given), tmp_path / "run")
    experiment = build(compose(*given))
    goal = as_typed(lookup("objective", name), settings, "")
    chosen = {"optimizer": experiment.optimizer, "objective": goal, "steps": 8, "batch_size": 32}
    fit(experiment.flow, experiment.target, **chosen, progress="off")
    for key, tensor in run.load_flow("last").state_dict().items():
        torch.testing.assert_close(experiment.flow.state_dict()[key], tensor, rtol=1e-4, atol=1e-5)


@over_objectives
def test_a_lightning_trainer_takes_the_same_steps(name, settings):
    given = (*SMALL, "optimizer.schedule=constant", "max_steps=8", *words(name, settings))
    experiment, again = build(compose(*given)), build(compose(*given))
    goal = as_typed(lookup("objective", name), settings, "")
    rows = experiment.target.rows("validation", 256, 0)
    module = FlowModule(again.flow, again.optimizer, objective=goal, target=again.target, batch_size=32)
    trainer = pl.Trainer(max_steps=8, enable_checkpointing=False, **LIGHTNING)
    trainer.fit(module, DataLoader(rows, batch_size=32) if goal.needs_points else None)
    chosen = {"optimizer": experiment.optimizer, "objective": goal, "steps": 8, "batch_size": 32, "progress": "off"}
    if goal.needs_points:
        fit(experiment.flow, DataLoader(rows, batch_size=32), validation=None, **chosen)
    else:
        fit(experiment.flow, experiment.target, **chosen)
    assert trainer.global_step == 8
    assert f"train_{goal.log_name}" in trainer.callback_metrics
    for key, tensor in experiment.flow.state_dict().items():
        torch.testing.assert_close(again.flow.state_dict()[key], tensor, rtol=1e-3, atol=1e-4)


@over_objectives
def test_jobs_of_one_objective_are_stacked(name, settings):
    target = compose(TARGET).target.build()
    first, second = (compose(*SMALL, f"seed={seed}", *words(name, settings)) for seed in (0, 1))
    assert stack_key(first, target) == stack_key(second, target) is not None
    if settings:
        assert stack_key(compose(*SMALL, *words(name, {})), target) != stack_key(first, target)
