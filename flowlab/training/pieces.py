"""A large step as pieces: layers whose operations are equal share one compiled graph.

The time to compile a graph grows with its number of operations: eight spline layers take minutes. The layers of a flow
usually differ in their parameters alone. A trace therefore marks the begin and end of each layer, forward and backward.
It is cut at the marks. Each distinct piece is compiled once and called for every layer.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

from flowlab.bijectors import Chain
from flowlab.bijectors.base import METHODS, Bijector

Compile = Callable[[GraphModule, list[Tensor]], Callable[..., Sequence[Tensor]]]


@torch.library.custom_op("flowlab::mark", mutates_args=())
def mark(x: Tensor, anchor: Tensor, place: int) -> Tensor:
    """x itself: an operation that a trace shows. Its gradient is marked with the place -1 - place.

    The anchor has a gradient, so the gradient of x is traced in the first layer as in all others.
    """
    return x.clone()


@mark.register_fake
def _(x: Tensor, anchor: Tensor, place: int) -> Tensor:
    return torch.empty_like(x)


@mark.register_vmap
def _(info: Any, dims: tuple[int | None, ...], x: Tensor, anchor: Tensor, place: int) -> tuple[Tensor, int | None]:
    return mark(x, anchor, place), dims[0]


def _keep_place(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
    ctx.place = inputs[2]


def _mark_gradient(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
    return mark(gradient, gradient, -1 - ctx.place), None, None


mark.register_autograd(_mark_gradient, setup_context=_keep_place)
MARK = torch.ops.flowlab.mark.default
torch.fx.node.has_side_effect(MARK)  # keeps a mark in a trace even if nothing uses its result


@contextmanager
def marked_layers(module: nn.Module) -> Iterator[None]:
    """Let the layers of chains mark their points where they begin, at place 2 i, and where they end, at 2 i + 1."""
    parts = [part for chain in module.modules() if isinstance(chain, Chain) for part in chain.parts]
    inside = {each for part in parts for each in part.modules() if each is not part}
    layers = [part for part in dict.fromkeys(parts) if part not in inside and list(part.parameters())]
    names = [name for method in METHODS for name in (method, f"unchecked_{method}")]
    for number, layer in enumerate(layers):
        for name in names:
            setattr(layer, name, partial(_call_marked, layer, getattr(layer, name), number))
    try:
        yield
    finally:
        for layer in layers:
            for name in names:
                delattr(layer, name)


def _call_marked(
    layer: Bijector, method: Callable[..., Any], number: int, points: Tensor, context: Tensor | None = None
) -> Any:
    anchor = next(layer.parameters())
    result = method(mark(points, anchor, 2 * number), context)
    if isinstance(result, Tensor):
        return mark(result, anchor, 2 * number + 1)
    return mark(result[0], anchor, 2 * number + 1), result[1]


def mean_layer_size(traced: GraphModule) -> float:
    """The mean number of operations in a layer, forward or backward; 0 without layers."""
    marks = sum(node.target is MARK for node in traced.graph.nodes)
    return len(traced.graph.nodes) / (marks / 2) if marks else 0.0


def remove_marks(graph: Graph) -> None:
    """Make a trace with marks one without, which becomes one piece."""
    for node in list(graph.nodes):
        if node.target is MARK:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


@dataclass(frozen=True)
class Call:
    """A call of a compiled piece.

    Attributes:
        function: the piece.
        arguments, results: their places among all values.
        spent: places of values that no later call uses.
    """

    function: Callable[..., Sequence[Tensor]]
    arguments: list[int]
    results: list[int]
    spent: list[int]


class Pieces:
    """A traced function as calls of compiled pieces.

    Arguments:
        traced: its operations, with marks.
        compile: compiles a graph for example tensors.
        tensors: example arguments of the function.

    Attributes:
        compiled: the number of distinct pieces.
    """

    def __init__(self, traced: GraphModule, compile: Compile, tensors: Sequence[Tensor]) -> None:
        groups, outputs = cut(traced.graph)
        nodes = list(traced.graph.nodes)
        given = [node for node in nodes if node.op == "placeholder"]
        fixed = [node for node in nodes if node.op == "get_attr"]
        self.constants = [getattr(traced, str(node.target)).detach() for node in fixed]
        values: list[Tensor] = [*tensors, *self.constants]
        places = {node: place for place, node in enumerate([*given, *fixed])}
        functions: dict[Any, Callable[..., Sequence[Tensor]]] = {}
        self.calls: list[Call] = []
        for group in groups:
            graph, taken = group.graph()
            examples = [values[places[node]] for node in taken]
            key = (_text(graph), *((each.shape, each.stride(), each.dtype) for each in examples))
            if key not in functions:
                functions[key] = compile(GraphModule(nn.Module(), graph), examples)
            values += functions[key](*examples)
            places |= {node: place for place, node in enumerate(group.results, len(places))}
            arguments, results = ([places[node] for node in each] for each in (taken, group.results))
            self.calls.append(Call(functions[key], arguments, results, []))
        self.compiled, self.size = len(functions), len(values)
        self.results = [places[node] for node in outputs]
        needed = {*self.results, *range(len(tensors) + len(fixed))}
        for call in reversed(self.calls):
            here = {*call.arguments, *call.results}
            call.spent.extend(here - needed)
            needed |= here

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        values: list[Any] = [*tensors, *self.constants]
        values += [None] * (self.size - len(values))
        for call in self.calls:
            results = call.function(*[values[place] for place in call.arguments])
            for place, result in zip(call.results, results, strict=True):
                values[place] = result
            for place in call.spent:
                values[place] = None
        return tuple(values[place] for place in self.results)


@dataclass
class Group:
    """Operations that become a piece.

    Attributes:
        nodes: the operations, in order.
        kept: the value at the mark where a layer ends.
        results: the values that other groups use.
    """

    nodes: list[Node]
    kept: Node | None = None
    results: list[Node] = field(default_factory=list)

    def graph(self) -> tuple[Graph, list[Node]]:
        """The operations as a graph of their own, and the values that it takes from outside."""
        graph, copies, own = Graph(), dict[Node, Node](), set(self.nodes)
        taken = list(dict.fromkeys(node for each in self.nodes for node in each.all_input_nodes if node not in own))
        for number, node in enumerate(taken):
            copies[node] = graph.placeholder(f"given{number}")
        for node in self.nodes:
            copies[node] = graph.node_copy(node, copies.__getitem__)
        returned = []
        for node in self.results:
            source = node
            while source in own and _is_view(source):
                source = source.all_input_nodes[0]
            copy = copies[node]  # a result that shares memory with an argument costs more than a copy of it
            returned.append(copy if source in own else graph.call_function(torch.ops.aten.clone.default, (copy,)))
        graph.output(tuple(returned))
        return graph, taken


def cut(graph: Graph) -> tuple[list[Group], list[Node]]:
    """The operations of a trace in groups, a layer's direction each, and others between; and its outputs.

    A group takes values from earlier ones. An operation outside of the layers moves to the beginning, to the end, or to
    the middle, between forward and backward layers, if it can. A backward layer computes cheap values of its forward
    layer again instead of reading them from memory.
    """
    nodes = list(graph.nodes)
    groups, place_of, layers, marks = [Group([])], dict[Node, int](), set[int](), list[Node]()
    middle = 0
    for node in nodes:
        if node.target is MARK:
            source, _, place = node.args
            begins = place % 2 == 0
            if not begins and place_of.get(source) == len(groups) - 1:
                groups[-1].kept = source
            if begins and place < 0 and not middle:
                middle = len(groups) - 1
            groups.append(Group([]))
            if begins:
                layers.add(len(groups) - 1)
            node.replace_all_uses_with(source)
            marks.append(node)
        elif node.op == "call_function":
            place_of[node] = len(groups) - 1
    for node in reversed(marks):
        graph.erase_node(node)
    preferred = {0, middle, len(groups) - 1}
    _move(nodes, place_of, layers, preferred)
    for node in nodes:
        if node in place_of:
            groups[place_of[node]].nodes.append(node)
    kept = {group.kept for group in groups}
    cheap = {node for node, place in place_of.items() if place in layers and node not in kept and _is_cheap(node)}
    for number in layers:
        groups[number].nodes = _with_cheap(groups[number].nodes, cheap, nodes)
    (outputs,) = nodes[-1].args
    used = {*outputs, *kept}
    for group in groups:
        own = set(group.nodes)
        used |= {node for each in group.nodes for node in each.all_input_nodes if node not in own}
    for number, group in enumerate(groups):
        group.results = [node for node in group.nodes if node in used and place_of[node] == number]
    return [group for group in groups if group.results], list(outputs)


def _move(nodes: Sequence[Node], place_of: dict[Node, int], layers: set[int], preferred: set[int]) -> None:
    """Move operations outside of the layers to a preferred group, if what they take and give allows it."""
    latest: dict[Node, int] = {}
    for node in reversed(nodes):
        if node in place_of and place_of[node] not in layers:
            ends = [latest.get(user, place_of.get(user, max(preferred))) for user in node.users]
            latest[node] = min((end - (end in layers) for end in ends), default=place_of[node])
    for node in nodes:
        if node in latest:
            sources = [place_of[each] for each in node.all_input_nodes if each in place_of]
            earliest = max((each + (each in layers) for each in sources), default=0)
            moves = earliest not in preferred and latest[node] in preferred and node.target is not operator.getitem
            place_of[node] = latest[node] if moves else earliest


def _with_cheap(nodes: list[Node], cheap: set[Node], order: Sequence[Node]) -> list[Node]:
    """Operations of a layer, after cheap ones of other layers that it needs."""
    own, again, waiting = set(nodes), set[Node](), list(nodes)
    while waiting:
        needed = {node for node in waiting.pop().all_input_nodes if node in cheap} - own - again
        again |= needed
        waiting += needed
    return [node for node in order if node in again] + nodes if again else nodes


def _is_cheap(node: Node) -> bool:
    return _is_view(node) or torch.Tag.pointwise in getattr(node.target, "tags", ())


def _is_view(node: Node) -> bool:
    return node.target is operator.getitem or getattr(node.target, "is_view", False)


def _text(graph: Graph) -> str:
    """The operations of a graph, equal for graphs that differ in names alone."""
    numbers = {node: f"%{number}" for number, node in enumerate(graph.nodes)}
    lines = []
    for node in graph.nodes:
        given = map_arg((node.args, node.kwargs), lambda each: numbers[each])
        target = "" if node.op == "placeholder" else node.target
        lines.append(f"{node.op} {target} {given}")
    return "\n".join(lines)
