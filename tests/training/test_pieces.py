"""A step in pieces gives the numbers of the whole step, and its layers share pieces."""

import pytest
import torch

from flowlab import compose, load_run, resume, train
from flowlab.config.registry import lookup
from flowlab.targets.base import Batch
from flowlab.training import compile as compiler
from flowlab.training.compile import trace
from flowlab.training.pieces import MARK, Pieces, cut, marked_layers, mean_layer_size
from flowlab.training.step import Recipe, StackedStep, State, new_state, rates_of_steps

SMALL = ("dtype=float64", "flow.hidden=[6]")


def traced_step(*words, depth=3, dim=3, jobs=1, context=None, objective="maximum_likelihood"):
    """A step of flows with perturbed parameters as a function of tensors, its arguments, and its marked trace."""
    config = compose(*SMALL, f"flow.depth={depth}", *words)
    flows = [config.flow.build((dim,), context).double() for _ in range(jobs)]
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in (each for flow in flows for each in flow.parameters()):
            parameter.add_(0.3 * torch.randn_like(parameter))
    goal, target = lookup("objective", objective, "objective")(), compose("target=gaussian").target.build()
    recipe = Recipe(lambda flow, batch: goal(flow, batch, target), config.optimizer)
    step = StackedStep(flows, recipe)
    state = new_state(flows, config.optimizer)
    ((_, rates),) = rates_of_steps([config.optimizer] * jobs, range(1), 10, state.numbers)
    drawn = [torch.randn(jobs, 8, dim).double()]
    drawn += [] if context is None else [torch.randn(jobs, 8, *context).double()]
    count = len(state.tensors())

    def flat(rates, *tensors):
        after, losses = step(State.of_tensors(tensors[:count]), Batch(*tensors[count:]), rates)
        return (losses, *after.tensors())

    tensors = [rates, *state.tensors(), *drawn]
    with marked_layers(step.module):
        return flat, tensors, trace(flat, *tensors)


def as_it_is(graph, examples):
    return graph.forward


CASES = {
    "coupling": (["flow=coupling"], {}),
    "two mappings of one layer": (["flow=coupling", "flow.mixing=permute"], {}),
    "lu": (["flow=nsf"], {}),
    "act_norm": (["flow=glow"], {}),
    "even dimension": (["flow=realnvp"], {"dim": 4}),
    "autoregressive": (["flow=nsf_ar"], {}),
    "inverse autoregressive": (["flow=iaf"], {"dim": 2, "objective": "reverse_kl"}),
    "context": (["flow=maf"], {"context": (2,)}),
    "stack": (["flow=realnvp"], {"jobs": 3}),
    "no coupling": (["flow=realnvp"], {"depth": 1}),
}


@pytest.mark.parametrize("case", CASES)
def test_pieces_equal_the_whole(case):
    words, given = CASES[case]
    flat, tensors, traced = traced_step(*words, **given)
    assert mean_layer_size(traced) > 0
    with torch.no_grad():
        whole = traced(*tensors)
        pieces = Pieces(traced, as_it_is, tensors)
        again = [pieces(*tensors) for _ in range(2)]
    for results in again:
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(results, whole, strict=True))
    torch.testing.assert_close(again[0], flat(*tensors))


@pytest.mark.parametrize("words", [["flow=nsf_ar"], ["flow=maf", "flow.act_norm=true"], ["flow=realnvp"]])
def test_deeper_flows_have_no_more_pieces(words):
    counts = []
    for depth in (4, 5):
        _, tensors, traced = traced_step(*words, depth=depth)
        with torch.no_grad():
            pieces = Pieces(traced, as_it_is, tensors)
        counts.append((pieces.compiled, len(pieces.calls)))
    assert counts[0][0] == counts[1][0] < counts[0][1] < counts[1][1]


def test_nothing_stays_between_the_layers_of_a_coupling_flow():
    _, _, traced = traced_step("flow=coupling", depth=4)
    groups, outputs = cut(traced.graph)
    assert len(groups) == 1 + 4 + 1 + 4 + 1  # the beginning, the middle and the end
    assert len(outputs) == 1 + 4 + 2
    assert not any(node.target is MARK for node in traced.graph.nodes)


def test_marks_leave_no_trace_in_the_module():
    flow = compose("flow=realnvp").flow.build((2,))
    before = [dict(vars(each)) for each in flow.modules()]
    with pytest.raises(KeyError), marked_layers(flow):
        raise KeyError
    assert [dict(vars(each)) for each in flow.modules()] == before


def test_a_run_in_pieces_resumes_to_the_same_bits(tmp_path, monkeypatch, interrupt):
    monkeypatch.setattr(compiler, "LARGEST_WHOLE", 0)
    monkeypatch.setattr(compiler, "SMALLEST_LAYER", 0)
    words = (*SMALL, "flow=maf", "flow.depth=2", "trainer.progress=off", "test_size=500", "validation_size=500")
    words += ("batch_size=32", "max_steps=60", "trainer.checkpoint_every=20")
    eager = train(compose(*words, "trainer.compile=false"), tmp_path / "eager").load_flow("last").state_dict()
    whole = train(compose(*words, "trainer.compile=true"), tmp_path / "whole").load_flow("last").state_dict()
    interrupt(40, train, compose(*words, "trainer.compile=true"), tmp_path / "stopped")
    assert load_run(tmp_path / "stopped").checkpoint("last")["global_step"] == 40
    resumed = resume(tmp_path / "stopped").load_flow("last").state_dict()
    for name, tensor in whole.items():
        assert torch.equal(resumed[name], tensor)
        torch.testing.assert_close(eager[name], tensor, rtol=1e-9, atol=1e-9)
