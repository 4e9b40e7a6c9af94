"""Train a piece of a sweep: one job, or several jobs of one shape as a stack."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from flowlab.config.errors import ConfigError
from flowlab.config.schema import Config
from flowlab.flows._assemble import Costs
from flowlab.loggers.base import open_loggers
from flowlab.metrics.evaluation import expected_metrics
from flowlab.runs.directory import Run
from flowlab.runs.record import Record, mark_failed, mark_interrupted, track_status
from flowlab.system.display import Progress
from flowlab.system.process import STOP_HANDLERS, handle_signals, print_line, set_threads
from flowlab.targets.base import Target
from flowlab.training.build import EAGER, Checked, Choice, Experiment, build
from flowlab.training.loop import Loop
from flowlab.training.resume import find_run, open_run
from flowlab.training.train import build_job, finish_job, run_training


@dataclass(frozen=True)
class Member:
    """A job of a sweep: its run directory, and what a check of its configuration has built."""

    run: Run
    target: Target
    costs: Costs | None

    @property
    def checked(self) -> Checked:
        return Checked(self.run.config, self.target, self.costs)


@dataclass(frozen=True)
class Piece:
    """Jobs that one process trains: together, or one alone.

    Attributes:
        members: the jobs, a place of the stack for each.
        stacked: whether the step of the stack is compiled; None trains a job without one.
        group: the name of the sweep.
        fail_fast: a job that fails interrupts the others.
        ballast: places of jobs that are not trained: see Loop.
    """

    members: list[Member]
    stacked: Choice | None
    group: str | None
    fail_fast: bool = False
    ballast: frozenset[int] = frozenset()

    @property
    def trained(self) -> list[Member]:
        return [member for place, member in enumerate(self.members) if place not in self.ballast]

    @property
    def config(self) -> Config:
        return self.members[0].run.config

    @property
    def work(self) -> float:
        """The time that the jobs take, in arbitrary units."""
        costs = self.members[0].costs
        return self.config.max_steps * (costs.stages if costs else 1) * len(self.members)

    def train(self, send: Callable[[int], None]) -> None:
        """Train the jobs; errors are then recorded in their directories."""
        opened: dict[int, tuple[Run, Experiment]] = {}
        try:
            for place, member in enumerate(self.members):
                if place not in self.ballast and (experiment := self._open(member)):
                    opened[place] = member.run, experiment
            if self.stacked and opened:
                stack = self._fill(opened) if self.stacked.compiled else list(opened.values())
                ballast = set(range(len(stack))) - {*opened} if self.stacked.compiled else set()
                train_stack(stack, Reporter(send), self.fail_fast, self.stacked, ballast)
            elif opened:
                run_training(*opened[0], progress=Reporter(send))
        except (KeyboardInterrupt, SystemExit):
            for run, _ in opened.values():
                if run.status.get("status") == "running":
                    mark_interrupted(run)
            raise
        except Exception as error:
            for run, _ in opened.values():
                mark_failed_if_running(run, error)

    def _fill(self, opened: dict[int, tuple[Run, Experiment]]) -> list[tuple[Run, Experiment]]:
        """The jobs of all places; the graph holds their number, and the constants of their flows."""
        return [
            opened.get(place) or (member.run, build(member.run.config, checked=member.checked))
            for place, member in enumerate(self.members)
        ]

    def _open(self, member: Member) -> Experiment | None:
        """Build a job and make its directory ready; None if it cannot be trained."""
        run = member.run
        try:
            experiment = build(run.config, checked=member.checked)
            open_run(find_run(run.directory, run.config), experiment, run.directory, self.group)
        except (ConfigError, OSError) as error:
            print_line(f"flowlab: {run.directory}: cannot be trained: {error}")
            with contextlib.suppress(ConfigError, OSError):  # another process uses it, or it cannot be written
                mark_failed(run, error)
            return None
        return experiment


class Reporter(Progress):
    """Sends the step that training has reached."""

    def __init__(self, send: Callable[[int], None]) -> None:
        self.send = send

    def start(self, step: int, max_steps: int) -> None:
        self.send(step)

    def update(self, step: int, record: Record) -> None:
        self.send(step)


def train_stack(
    stack: Sequence[tuple[Run, Experiment]],
    progress: Progress | None = None,
    fail_fast: bool = False,
    choice: Choice = EAGER,
    ballast: Collection[int] = (),
) -> None:
    """Train jobs of equal keys together, from step 0 or all from the step of their checkpoints.

    Every job keeps its own parameters, minibatches, learning rate, metrics and run directory; the jobs share the call
    that computes their gradients. A job equals the same job trained alone up to rounding. With `fail_fast`, a job that
    diverges interrupts the others, which can resume. `choice` says whether the step is compiled; for `ballast` see
    Loop.
    """
    config, trained = stack[0][0].config, [place for place in range(len(stack)) if place not in ballast]
    runs = [stack[place][0] for place in trained]
    with contextlib.ExitStack() as outer:
        outer.enter_context(set_threads(config.trainer.threads))
        jobs, closing = [build_job(run, experiment) for run, experiment in stack], {}
        for place in trained:
            run, experiment = stack[place]
            closing[place] = outer.enter_context(contextlib.ExitStack())
            columns = expected_metrics(config.metrics, experiment.target)
            jobs[place].loggers = closing[place].enter_context(open_loggers(run, columns))
        same = len({str(run.config.target) for run, _ in stack}) == 1
        loop = Loop(jobs, config.trainer, config.max_steps, None, same, choice, ballast, fail_fast)
        if runs[0].has_checkpoint("last"):
            loop.restore([run.checkpoint("last") for run in runs])
        with handle_signals(STOP_HANDLERS), track_status(*runs, to_the_end=False):
            loop.run(progress)
        for place in trained:
            run, experiment = stack[place]
            # An error is then recorded in its directory, and its loggers have seen it.
            with contextlib.suppress(Exception, KeyboardInterrupt), track_status(run), closing[place]:
                if loop.state.alive[place] and loop.step < loop.max_steps:  # another job has failed
                    raise KeyboardInterrupt
                finish_job(run, experiment, loop, place)


def mark_failed_if_running(run: Run, error: Exception) -> None:
    """Record the error of a run that could not do so itself."""
    if run.status.get("status") == "running":
        with contextlib.suppress(ConfigError, OSError):
            mark_failed(run, error)
