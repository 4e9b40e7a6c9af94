"""Distil masked autoregressive teachers into inverse autoregressive students, in 20 dimensions.

    python experiments/distillation.py [--problems funnel twonorm ...] [--seeds 0 1 2] [--record PATH]

For each problem and seed it trains a MAF teacher by maximum likelihood, then IAF students from the teacher's density.
Where all conditionals are Gaussian, one student takes the KL of each coordinate in closed form and one takes plain
Monte Carlo, with equal steps, minibatches and initialization. It reports

- KL(target || teacher), up to the error of 20 000 points, as are all KLs;
- KL(student || teacher), and KL(teacher || student), which would show dropped modes;
- seconds for 10 000 samples of both, the median of 7 in turn, on one thread;
- the variance of the gradient of both estimators at equal parameters, at each validation of a student.

Runs are kept in --directory, so the same command continues where it stopped. It takes half an hour on an idle core.
`--record experiments/results/distillation` writes PATH.csv, the ratios of variances by step, and the provenance.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas
import torch
from torch import Tensor

import flowlab
from flowlab import Flow
from flowlab.cli.command import OK, report_mistakes
from flowlab.config.component import setting
from flowlab.flows._assemble import assemble
from flowlab.flows.autoregressive import AutoregressiveFlow
from flowlab.metrics.evaluation import Evaluation, evaluate, reverse_kl
from flowlab.objectives import Distillation
from flowlab.seeding import generator
from flowlab.system.files import write_json, write_text
from flowlab.system.process import origin, protect_output, set_threads
from flowlab.targets import ExactTarget, FlowTarget, Funnel, TwoNorm
from flowlab.targets.base import LOG_TWO_PI, Batch

POINTS, REPEAT = 10_000, 7  # of the timing
BATCHES = 32  # minibatches whose gradients are compared
BATCH_SIZE, LR = 256, 0.003
HELD_OUT, VALIDATE_EVERY = 2000, 250
EVALUATED = 20_000  # points of a final KL


@dataclass
class Chain(ExactTarget):
    r"""x_1 ~ N(0, 1), x_i ~ N(tanh(x_(i-1)) + x_(i-2) / 4, exp(tanh(x_1) / 2) / 2), by standard deviation.

    Entropy, closed form: d log(2 pi e) / 2 - (d - 1) log 2 nats, since E tanh(x_1) = 0.

    Arguments:
        dim: d, at least 3.
        train_size: see ExactTarget.
    """

    dim: int = setting(20, minimum=3)

    def __post_init__(self) -> None:
        self.event_shape, self.bounds = (self.dim,), ((-4.0, 4.0),) * self.dim
        self.entropy = 0.5 * self.dim * (LOG_TWO_PI + 1) - (self.dim - 1) * math.log(2)

    def from_draws(self, drawn: Tensor) -> Tensor:
        scale = self._log_scale(drawn[..., 0]).exp()
        x = [drawn[..., 0]]
        for number in range(1, self.dim):
            before = x[number - 2] if number > 1 else torch.zeros_like(x[0])
            x.append(x[-1].tanh() + before / 4 + scale * drawn[..., number])
        return torch.stack(x, dim=-1)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        before = torch.cat([torch.zeros_like(x[..., :1]), x[..., :-2]], dim=-1)
        log_scale = self._log_scale(x[..., :1])
        rest = (x[..., 1:] - x[..., :-1].tanh() - before / 4) * (-log_scale).exp()
        squares = x[..., 0].square() + rest.square().sum(-1)
        return -0.5 * (squares + self.dim * LOG_TWO_PI) - (self.dim - 1) * log_scale.squeeze(-1)

    @staticmethod
    def _log_scale(first: Tensor) -> Tensor:
        return first.tanh() / 2 - math.log(2)


ONE_ORDER = AutoregressiveFlow(map="affine", depth=2, reverse=False)  # in all layers: Gaussian conditionals
REVERSED = AutoregressiveFlow(map="affine", depth=3)  # from layer to layer: other conditionals
# By problem: the target, the shape of teacher and student, and the steps of each of them.
PROBLEMS: dict[str, tuple[ExactTarget, AutoregressiveFlow, int]] = {
    "funnel": (Funnel(dim=20, scale=1.0), ONE_ORDER, 1000),
    "twonorm": (TwoNorm(dim=20), REVERSED, 1500),
    "chain": (Chain(), ONE_ORDER, 8000),
}


def gradient_variance(flow: Flow, target: FlowTarget, estimator: str) -> float:
    """The summed variance of a minibatch's gradient over all parameters, from BATCHES independent minibatches."""
    objective, parameters = Distillation(estimator=estimator), list(flow.parameters())
    gradients = []
    for number in range(BATCHES):
        x = flow.rsample_base((BATCH_SIZE,), generator=generator(0, "gradients", number))
        with torch.enable_grad():
            loss = objective(flow, Batch(x), target)
        parts = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        gradients.append(torch.cat([part.flatten() for part in parts]).double())
    return float(torch.stack(gradients).var(0).sum())


def _variance_of(estimator: str) -> Callable[[Evaluation], float | None]:
    def measure(evaluation: Evaluation) -> float | None:
        if not isinstance(evaluation.target, FlowTarget):
            return None
        return gradient_variance(evaluation.flow, evaluation.target, estimator)

    return measure


VARIANCES = {name: f"{name}_variance" for name in ("closed", "monte_carlo")}
for estimator, metric in VARIANCES.items():
    flowlab.register("metric", metric)(_variance_of(estimator))


def sampling_seconds(flows: Sequence[Flow]) -> list[float]:
    """The median seconds of the processor for POINTS samples of each flow, measured in turn."""
    taken: list[list[float]] = [[] for _ in flows]
    for number in range(REPEAT):
        for flow, times in zip(flows, taken, strict=True):
            begun = time.process_time()
            flow.sample((POINTS,), generator=generator(0, "timing", number))
            times.append(time.process_time() - begun)
    return [statistics.median(times) for times in taken]


def train(flow: Flow, target: ExactTarget, place: Path, seed: int, steps: int, **settings: Any) -> None:
    """Train a flow in its directory: from the start, from where it stopped, or not at all if it is done."""
    flowlab.fit(
        flow,
        target,
        steps=steps,
        batch_size=BATCH_SIZE,
        lr=LR,
        seed=seed,
        directory=place,
        validation=target.rows("validation", HELD_OUT, seed),
        validate_every=VALIDATE_EVERY,
        progress="off",
        **settings,
    )


def build(shape: AutoregressiveFlow, fast: str, dim: int, seed: int) -> Flow:
    """An untrained flow whose direction of one pass is "density" or "samples"."""
    return assemble(replace(shape, fast=fast), (dim,), None, generator(seed, fast))


def distil(problem: str, seed: int, directory: Path, steps: int | None) -> list[dict[str, Any]]:
    """Train a teacher and its students; return a row for each student."""
    target, shape, usual = PROBLEMS[problem]
    place = directory / f"{problem}_{seed}"
    flow = build(shape, "density", target.dim, seed)
    train(flow, target, place / "teacher", seed, steps or usual)
    teacher = FlowTarget(flow)
    points = target.batch("test", EVALUATED, seed)
    learned = evaluate(flow, points, target).measure(["kl", "kl_se"])
    rows = []
    for name in VARIANCES if shape is ONE_ORDER else ("monte_carlo",):
        student = build(shape, "samples", target.dim, seed)
        measured = list(VARIANCES.values()) if shape is ONE_ORDER else []
        objective = Distillation(estimator=name)
        train(student, teacher, place / name, seed, steps or usual, objective=objective, metrics=measured)
        rows.append({"problem": problem, "dim": target.dim, "seed": seed, "estimator": name})
        rows[-1] |= {f"teacher_{name}": value for name, value in learned.items()} | compare(student, teacher, seed)
        print(pandas.DataFrame(rows[-1:]).to_string(index=False), flush=True)
    return rows


def compare(student: Flow, teacher: FlowTarget, seed: int) -> dict[str, float]:
    """The KLs of a student and its teacher in both directions, in nats, and their seconds."""
    backward = reverse_kl(student, teacher, EVALUATED, seed)
    forward = evaluate(student, teacher.batch("test", EVALUATED, seed), teacher).measure(["kl", "kl_se"])
    slow, fast = sampling_seconds([teacher.flow, student])
    return {
        "student_kl": backward["reverse_kl"],
        "student_kl_se": backward["reverse_kl_se"],
        "forward_kl": forward["kl"],
        "forward_kl_se": forward["kl_se"],
        "teacher_seconds": slow,
        "student_seconds": fast,
        "parameters": sum(parameter.numel() for parameter in student.parameters()),
    }


def variance_ratios(directory: Path, cells: Sequence[tuple[str, int]]) -> pandas.DataFrame:
    """Variance of Monte Carlo over variance of the closed form, by step, on the way of each closed student."""
    ratios = {}
    for problem, seed in cells:
        rows = pandas.read_csv(directory / f"{problem}_{seed}" / "closed" / "metrics.csv", index_col="step")
        ratios[f"{problem}_{seed}"] = (rows[VARIANCES["monte_carlo"]] / rows[VARIANCES["closed"]]).dropna()
    return pandas.DataFrame(ratios).rename_axis("step")


def record(path: Path, table: pandas.DataFrame, ratios: pandas.DataFrame) -> None:
    """Write the table to PATH.csv, the ratios to PATH_variance_ratio.csv, and the provenance to PATH.json."""
    source = origin()
    command = [Path(word).name if Path(word).is_absolute() else word for word in source["command"]]
    content: dict[str, Any] = {"batch_size": BATCH_SIZE, "lr": LR, "points": POINTS, "repeat": REPEAT}
    content |= {"batches": BATCHES, "evaluated": EVALUATED, "threads": 1}
    content["problems"] = {
        name: {"target": type(target).__name__, "flow": shape.to_dict(), "steps": steps}
        for name, (target, shape, steps) in PROBLEMS.items()
        if name in set(table["problem"])
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(Path(f"{path}.csv"), table.to_csv(index=False, lineterminator="\n", float_format="%.4g"))
    write_text(Path(f"{path}_variance_ratio.csv"), ratios.to_csv(lineterminator="\n", float_format="%.4g"))
    write_json(Path(f"{path}.json"), content | source | {"command": command})
    print(f"wrote {path}.csv, {path}_variance_ratio.csv and {path}.json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, given without the program's name; return the exit status."""
    parser = argparse.ArgumentParser("distillation.py", description="Distil MAF teachers into IAF students.")
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS), help="default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--steps", type=int, help="of each teacher and student; default: by problem, 1000 to 2500")
    parser.add_argument("--directory", type=Path, default=Path("runs/distillation"), help="default: runs/distillation")
    parser.add_argument("--record", metavar="PATH", type=Path, help="write the tables and the provenance")
    options = parser.parse_args(arguments)
    with protect_output(), set_threads(1):
        return report_mistakes(lambda: _run_cells(options), "the same command continues")


def _run_cells(options: argparse.Namespace) -> int:
    rows, closed = [], []
    for seed in options.seeds:
        for problem in options.problems:
            rows += distil(problem, seed, options.directory, options.steps)
            closed += [(problem, seed)] if PROBLEMS[problem][1] is ONE_ORDER else []
    table = pandas.DataFrame(rows).sort_values(["problem", "seed", "estimator"], kind="stable")
    ratios = variance_ratios(options.directory, sorted(closed))
    print(f"variance of the gradient, Monte Carlo over closed form\n{ratios.to_string()}")
    if options.record:
        record(options.record, table, ratios)
    return OK


if __name__ == "__main__":
    sys.exit(main())
