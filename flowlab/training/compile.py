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
from flowlab.config.schemas import Config, ConfigError, CustomConfig
from flowlab.distributed.devices import resolve_device
from flowlab.training.cuda_graph import Replayed
from flowlab.training.state import State
from flowlab.training.step import Step

# Seconds that a compilation takes, and that it saves of a step, by affine map: medians on one core of a common server
# for minibatches of 512 points in two dimensions. Constants, so that the same command makes the same choice.
COMPILE_SECONDS, COMPILE_SECONDS_PER_LAYER = 11.0, 1.6
SAVED_SECONDS_PER_LAYER = 200e-6

LARGEST_UNROLLED = 4

TakeStep = Callable[[State, Tensor, Tensor, Tensor], tuple[State, Tensor]]


class Choice(NamedTuple):
    """Whether the step is compiled, and why, in words."""

    compiled: bool
    why: str


def choose(config: Config, stacked: bool = False) -> Choice:
    """What `trainer.compile` means for a run; auto compares what a compilation saves with what it takes.

    A stack is compiled only if it is asked for: how the compiler rounds depends on the size of the stack, and what a
    job of a sweep comes to should not.

    Arguments:
        config: of the run, or of the runs of a stack.
        stacked: it is for a stack.

    Raises:
        ConfigError: it must be compiled, and there is no C++ compiler or no header of Python.
    """
    wish, missing = config.trainer.compile, _missing()
    if wish == "false":
        return Choice(False, "trainer.compile=false")
    if wish == "true":
        if missing:
            raise ConfigError(f"trainer.compile=true: there is no {missing}; use trainer.compile=auto")
        return Choice(True, "trainer.compile=true")
    if stacked:
        return Choice(False, "the numbers of a stack must not depend on its size")
    if resolve_device(config.trainer.accelerator).type != "cpu":
        return Choice(False, "what it saves was measured on a CPU alone; trainer.compile=true asks for it")
    if isinstance(config.flow, CustomConfig):
        return Choice(False, "what it saves for a flow of your own is not known; trainer.compile=true asks for it")
    saved = config.max_steps * config.flow.depth * SAVED_SECONDS_PER_LAYER
    taken = COMPILE_SECONDS + config.flow.depth * COMPILE_SECONDS_PER_LAYER
    why = f"over {config.max_steps} steps it would save about {saved:.0f} s and take about {taken:.0f} s"
    if saved > taken and missing:
        return Choice(False, f"{why}, but there is no {missing}")
    return Choice(saved > taken, why)


def _missing() -> str | None:
    """What torch.compile needs beside torch and is not here."""
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
            options: dict[str, Any] = {"compile_threads": 1, "cpp_wrapper": tensors[0].device.type == "cpu"}
            if any(node.kwargs.get("dtype") in HALF for node in traced.graph.nodes):
                options["emulate_precision_casts"] = True  # else it leaves out the rounding inside its loops
            self.graph = torch.compile(traced.forward, fullgraph=True, dynamic=False, options=options)
        with torch.no_grad():
            return self.graph(*tensors)


def trace(function: Callable[..., Any], *tensors: Tensor) -> torch.fx.GraphModule:
    """The operations of a function of tensors, in order, as what the compiler takes; it can be called as well."""
    # Of a method the tracer would count `self` among the arguments.
    return make_fx(lambda *given: function(*given), decomposition_table=DECOMPOSITIONS)(*tensors)


def compiled_step(step: Step, device: torch.device, mean: Callable[[Tensor], Tensor] | None = None) -> TakeStep:
    """A step as one graph, in a CUDA graph on a GPU; or, between several processes, as two with their mean between.

    Arguments:
        step: of flows on the device.
        device: where the numbers are.
        mean: over processes; None for one alone.
    """
    if mean is not None:
        return _between_processes(step, mean)

    def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
        state, losses = step(State(*tensors[:-3]), *tensors[-3:])
        return *state, losses

    graph = Compiled(flat)

    def take(state: State, drawn: Tensor, rates: Tensor, root: Tensor) -> tuple[State, Tensor]:
        *after, losses = graph(*state, drawn, rates, root)
        return State(*after), losses

    return Replayed(take) if device.type == "cuda" else take


def _between_processes(step: Step, mean: Callable[[Tensor], Tensor]) -> TakeStep:
    gradients_of = Compiled(step.gradients)
    update = Compiled(lambda *tensors: step.update(State(*tensors[:-4]), *tensors[-4:]))

    def take(state: State, drawn: Tensor, rates: Tensor, root: Tensor) -> tuple[State, Tensor]:
        gradients, losses = gradients_of(state.numbers, drawn)
        both = mean(torch.cat([gradients, losses[:, None]], dim=1))
        gradients, losses = both[:, :-1], both[:, -1]
        return State(*update(*state, gradients, losses, rates, root)), losses

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
