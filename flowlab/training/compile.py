"""The training step as one compiled graph, and when that pays."""

from __future__ import annotations

import os
import shlex
import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from flowlab.autocast import HALF
from flowlab.config.errors import ConfigError
from flowlab.targets.base import Batch
from flowlab.training.state import State
from flowlab.training.step import StackedStep

# A run of this many steps or more is compiled by default. A compilation takes 10 to 100 s on a common server, and saves
# 0.2 ms a step and layer of a small flow: by count of steps alone, so the same command makes the same choice.
MANY_STEPS = 20_000

LARGEST_UNROLLED = 4

TakeStep = Callable[[State, Batch, Tensor], tuple[State, Tensor]]


class Choice(NamedTuple):
    """Whether the step is compiled, and why, in words."""

    compiled: bool
    why: str


def choose(wish: str, max_steps: int, device: str = "cpu", stacked: bool = False) -> Choice:
    """Decide whether to compile the step.

    A stack is compiled only on request: the compiler's rounding depends on the size of the stack, and a job's numbers
    should not.

    Arguments:
        wish: `trainer.compile`: "true", "false" or "auto".
        max_steps: how many steps the run has.
        device: the type of the device that it runs on.
        stacked: several jobs share the step.

    Raises:
        ConfigError: it must be compiled, and there is no C++ compiler or no header of Python.
    """
    missing = _missing()
    if wish == "false":
        return Choice(False, "trainer.compile=false")
    if wish == "true":
        if missing:
            raise ConfigError(f"trainer.compile=true: there is no {missing}; use trainer.compile=auto")
        return Choice(True, "trainer.compile=true")
    if stacked:
        return Choice(False, "the numbers of a stack must not depend on its size")
    if device != "cpu":
        return Choice(False, "auto compiles on a CPU alone; trainer.compile=true asks for it")
    if max_steps < MANY_STEPS:
        return Choice(False, f"{max_steps} steps are fewer than {MANY_STEPS}, from which a compilation pays")
    if missing:
        return Choice(False, f"{max_steps} steps are many, but there is no {missing}")
    return Choice(True, f"from {MANY_STEPS} steps a compilation pays, and there are {max_steps}")


def _missing() -> str | None:
    """Name a part that torch.compile needs beside torch and this machine lacks."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(shlex.split(compiler)[0]) is None:
        return f"C++ compiler {compiler!r}"
    header = Path(sysconfig.get_path("include"), "Python.h")
    return None if header.is_file() else "Python.h, the headers of Python for C"


class Compiled:
    """A function of tensors, traced and compiled as one graph when it is first called.

    The graph is for the shapes of that call. Inductor keeps what it has compiled on disk, so that the next run of the
    same shapes, in this process or in another, waits for the tracing alone.

    Arguments:
        function: of tensors, to a tuple of tensors, without side effects.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]]) -> None:
        self.function = function
        self.graph: Callable[..., tuple[Tensor, ...]] | None = None

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        if self.graph is None:
            traced = trace(self.function, *tensors)
            # On the CPU a call of many small loops is much shorter from C++ than from Python.
            on_cpu = tensors[0].device.type == "cpu"
            options: dict[str, Any] = {"compile_threads": 1, "cpp_wrapper": on_cpu, "triton.cudagraphs": not on_cpu}
            if any(node.kwargs.get("dtype") in HALF for node in traced.graph.nodes):
                options["emulate_precision_casts"] = True  # else it leaves out the rounding inside its loops
            self.graph = torch.compile(traced.forward, fullgraph=True, dynamic=False, options=options)
        with torch.no_grad():
            if tensors[0].device.type == "cpu":
                return self.graph(*tensors)
            # A CUDA graph writes its results where those of its last call are.
            torch.compiler.cudagraph_mark_step_begin()
            return tuple(tensor.clone() for tensor in self.graph(*tensors))


def trace(function: Callable[..., Any], *tensors: Tensor) -> torch.fx.GraphModule:
    """The operations of a function of tensors, in order, as what the compiler takes; it can be called as well."""
    # Of a method the tracer would count `self` among the arguments.
    return make_fx(lambda *given: function(*given), decomposition_table=DECOMPOSITIONS)(*tensors)


def compiled_step(step: StackedStep) -> TakeStep:
    """A step as one graph, or between several ranks as two, with the mean of their gradients between them."""
    if step.world.size > 1:
        return _between_ranks(step)

    def flat(rates: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        split = len(tensors) - parts
        state, losses = step(State.of_tensors(tensors[:split]), Batch(*tensors[split:]), rates)
        return (losses, *state.tensors())

    graph, parts = Compiled(flat), 0

    def take(state: State, drawn: Batch, rates: Tensor) -> tuple[State, Tensor]:
        nonlocal parts
        parts = len(drawn.tensors())
        losses, *after = graph(rates, *state.tensors(), *drawn.tensors())
        return State.of_tensors(after), losses

    return take


def _between_ranks(step: StackedStep) -> TakeStep:
    gradients_of = Compiled(lambda numbers, *drawn: step.gradients(numbers, Batch(*drawn)))
    update = Compiled(
        lambda gradients, losses, rates, *state: tuple(
            step.update(State.of_tensors(state), gradients, losses, rates).tensors()
        )
    )

    def take(state: State, drawn: Batch, rates: Tensor) -> tuple[State, Tensor]:
        gradients, losses = gradients_of(state.numbers, *drawn.tensors())
        both = step.world.all_reduce_mean(torch.cat([gradients, losses[:, None]], dim=1))
        gradients, losses = both[:, :-1], both[:, -1]
        return State.of_tensors(update(gradients, losses, rates, *state.tensors())), losses

    return take


def _hypot(x: Tensor, y: Tensor) -> Tensor:
    """sqrt(x^2 + y^2) in three operations instead of a call; infinite above the root of the largest number."""
    return (x * x + y * y).sqrt()


def _product(a: Tensor, b: Tensor) -> Tensor:
    """The product of matrices of shapes (*, m, k) and (*, k, n), unrolled where a call costs more than the product.

    Points stand in rows, as everywhere else, so that what comes before and after becomes part of the same loop.
    """
    (m, k), n = a.shape[-2:], b.shape[-1]
    small = [size <= LARGEST_UNROLLED for size in (m, k, n)]
    if not all(small) and (a.shape[:-2].numel() > 1 or sum(small) < 2):
        return NotImplemented
    if a.dtype in HALF:  # as a call does: sums in single precision, rounded once
        return _product(a.float(), b.float()).to(a.dtype)
    if small[1] and small[0]:
        return sum(b.mT[..., :, place, None] * a.mT[..., place, None, :] for place in range(k)).mT  # type: ignore[union-attr]
    if small[1]:
        return sum(a[..., :, place, None] * b[..., place, None, :] for place in range(k))  # type: ignore[return-value]
    return torch.stack([(a.mT * b[..., :, place, None]).sum(-2) for place in range(n)], -1)


# What a compiler does better in its own loop than a call of a library does, for numbers as small as these.
DECOMPOSITIONS: dict[Any, Callable[..., Tensor]] = {
    torch.ops.aten.hypot.default: _hypot,
    torch.ops.aten.mm.default: _product,
    torch.ops.aten.bmm.default: _product,
}
