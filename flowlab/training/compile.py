"""The training step as one compiled graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from flowlab.autocast import HALF
from flowlab.targets.base import Batch
from flowlab.training.pieces import Pieces, marked_layers, mean_layer_size, remove_marks
from flowlab.training.step import StackedStep, State

LARGEST_UNROLLED = 4
LARGEST_WHOLE = 1500  # operations in one graph, which take about 20 s to compile
SMALLEST_LAYER = 80  # operations; a call of a piece costs as much as about 10

TakeStep = Callable[[State, Batch, Tensor], tuple[State, Tensor]]


class Compiled:
    """A function of tensors, to a tuple, traced and compiled for the shapes of its first call.

    It becomes one graph. A large one is cut into pieces, so the equal layers of a flow are compiled once.

    Inductor keeps compiled code on disk. So the next run of the same shapes, in any process, waits for the tracing
    alone.

    Arguments:
        function: the function.
        module: the module whose layers it may be cut into.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], module: nn.Module | None = None) -> None:
        self.function, self.module = function, module
        self.graph: Callable[..., tuple[Tensor, ...]] | None = None

    def _compile(self, tensors: Sequence[Tensor]) -> Callable[..., tuple[Tensor, ...]]:
        on_cpu = tensors[0].device.type == "cpu"
        with marked_layers(self.module) if on_cpu and self.module is not None else nullcontext():
            traced = trace(self.function, *tensors)
        # On the CPU a call of many small loops is much shorter from C++ than from Python.
        options: dict[str, Any] = {"compile_threads": 1, "cpp_wrapper": on_cpu, "triton.cudagraphs": not on_cpu}
        if any(node.kwargs.get("dtype") in HALF for node in traced.graph.nodes):
            options["emulate_precision_casts"] = True  # else it leaves out the rounding inside its loops
        if not on_cpu:
            return torch.compile(traced.forward, fullgraph=True, dynamic=False, options=options)
        if len(traced.graph.nodes) <= LARGEST_WHOLE or mean_layer_size(traced) < SMALLEST_LAYER:
            remove_marks(traced.graph)
        with torch.no_grad():
            return Pieces(traced, partial(_compile_piece, options=options), tensors)

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        if self.graph is None:
            self.graph = self._compile(tensors)
        with torch.no_grad():
            if tensors[0].device.type == "cpu":
                return self.graph(*tensors)
            # A CUDA graph overwrites the results of its last call.
            torch.compiler.cudagraph_mark_step_begin()
            return tuple(tensor.clone() for tensor in self.graph(*tensors))


def _compile_piece(piece: GraphModule, tensors: list[Tensor], options: dict[str, Any]) -> Callable[..., Any]:
    # Only with such a context does Inductor look for the graph among those on disk; torch 2.13 has no public way.
    with tracing(TracingContext(FakeTensorMode(shape_env=ShapeEnv()))):
        return torch._inductor.compile(piece, tensors, options=options)  # type: ignore[arg-type]


def trace(function: Callable[..., Any], *tensors: Tensor) -> GraphModule:
    """The operations of a function of tensors, in order, as what the compiler takes; it can be called as well."""
    # The tracer would count `self` among the arguments of a method.
    return make_fx(lambda *given: function(*given), decomposition_table=DECOMPOSITIONS)(*tensors)


def compiled_step(step: StackedStep) -> TakeStep:
    """A step as one graph, or between several ranks as two, with the mean of their gradients between them."""
    if step.world.size > 1:
        gradients_of = Compiled(lambda *given: step.gradients(given[0], given[1], Batch(*given[2:])), step.module)
        update = Compiled(lambda *parts: tuple(step.update(State.of_tensors(parts[3:]), *parts[:3]).tensors()))

        def take_between_ranks(state: State, drawn: Batch, rates: Tensor) -> tuple[State, Tensor]:
            gradients, losses = step.average(*gradients_of(state.numbers, state.steps, *drawn.tensors()))
            return State.of_tensors(update(gradients, losses, rates, *state.tensors())), losses

        return take_between_ranks

    parts = len(State._fields) - 1 + len(step.recipe.optimizer.moments)  # the number of tensors in a state

    def flat(rates: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        state, losses = step(State.of_tensors(tensors[:parts]), Batch(*tensors[parts:]), rates)
        return (losses, *state.tensors())

    graph = Compiled(flat, step.module)

    def take(state: State, drawn: Batch, rates: Tensor) -> tuple[State, Tensor]:
        losses, *after = graph(rates, *state.tensors(), *drawn.tensors())
        return State.of_tensors(after), losses

    return take


def _hypot(x: Tensor, y: Tensor) -> Tensor:
    """sqrt(x^2 + y^2) in three operations instead of a call; infinite above the root of the largest number."""
    return (x * x + y * y).sqrt()


def _product(a: Tensor, b: Tensor) -> Tensor:
    """The product of matrices of shapes (*, m, k) and (*, k, n), unrolled where a call costs more than the product.

    Points are rows, as everywhere else, so the operations before and after become part of the same loop.
    """
    (m, k), n = a.shape[-2:], b.shape[-1]
    small = [size <= LARGEST_UNROLLED for size in (m, k, n)]
    if not all(small) and (a.shape[:-2].numel() > 1 or sum(small) < 2):
        return _call(a, b)
    if a.dtype in HALF:  # as a call does: sums in single precision, rounded once
        return _product(a.float(), b.float()).to(a.dtype)
    if small[1] and small[0]:
        return sum(b.mT[..., :, place, None] * a.mT[..., place, None, :] for place in range(k)).mT  # type: ignore[union-attr]
    if small[1]:
        return sum(a[..., :, place, None] * b[..., place, None, :] for place in range(k))  # type: ignore[return-value]
    return torch.stack([(a.mT * b[..., :, place, None]).sum(-2) for place in range(n)], -1)


def _call(a: Tensor, b: Tensor) -> Tensor:
    if a.ndim == 3 and len(a) == 1:
        return torch.mm(a[0], b[0])[None]
    product = torch.mm if a.ndim == 2 else torch.bmm
    return product(b.mT, a.mT).mT if a.shape[-2] > b.shape[-1] else NotImplemented


def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Concatenate columns, each in one piece of memory, so a loop over points is a loop over neighbours."""
    first = tensors[0]
    if first.ndim < 2 or dim not in (-1, first.ndim - 1) or first.shape[-2] <= sum(each.shape[-1] for each in tensors):
        return NotImplemented
    return torch.cat([each.movedim(-1, 0) for each in tensors]).movedim(0, -1)


def _stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    if dim not in (-1, tensors[0].ndim):
        return NotImplemented
    return torch.cat([each[..., None] for each in tensors], -1)


# What a compiler does better in its own loop than a call of a library does, for numbers as small as these.
DECOMPOSITIONS: dict[Any, Callable[..., Tensor]] = {
    torch.ops.aten.hypot.default: _hypot,
    torch.ops.aten.mm.default: _product,
    torch.ops.aten.bmm.default: _product,
    torch.ops.aten.cat.default: _cat,
    torch.ops.aten.stack.default: _stack,
}
