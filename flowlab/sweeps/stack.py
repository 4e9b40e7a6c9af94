"""Stacked training: jobs of one shape as one batched model in one process.

Every job keeps its own parameters, minibatches, learning rate, metrics and run directory; what they share is the call
that computes the gradients of all of them. A job equals the same job trained alone up to rounding.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from torch import Tensor, nn
from torch.func import functional_call, vmap

from flowlab.files import write_atomically
from flowlab.flow import Flow
from flowlab.targets.base import Target
from flowlab.training.checkpoints import Checkpoints, Saving
from flowlab.training.directory import Run
from flowlab.training.divergence import DivergedError, describe_divergence
from flowlab.training.module import Endless, count_steps, end_of_call, shape_of
from flowlab.training.objective import Objective
from flowlab.training.optimizer import build_optimizer, learning_rate
from flowlab.training.record import Record
from flowlab.training.stream import Stream
from flowlab.training.surroundings import stop_if_asked


@dataclass
class Job:
    """One of the jobs of a stack."""

    run: Run
    target: Target
    flow: Flow
    stream: Stream
    objective: Objective
    record: Record
    saving: Saving
    loggers: list[Logger] = field(default_factory=list)
    failure: DivergedError | None = None


class StackModule(pl.LightningModule):
    """Trains the flows of several jobs together.

    The parameters of all jobs lie in one tensor of shape (jobs, numbers), and so do Adam's two moments. A job whose
    loss stops being finite keeps the parameters that it had and is left out from there on.

    Arguments:
        jobs: at least one, of equal keys.
    """

    automatic_optimization = False

    def __init__(self, jobs: list[Job]) -> None:
        super().__init__()
        self.jobs = jobs
        self.config = jobs[0].run.config
        template = jobs[0].flow
        self.names = [name for name, _ in template.named_parameters()]
        self.shapes = [parameter.shape for parameter in template.parameters()]
        self.sizes = [shape.numel() for shape in self.shapes]
        self.numbers = torch.stack([nn.utils.parameters_to_vector(job.flow.parameters()).detach() for job in jobs])
        self.first_moment, self.second_moment = torch.zeros_like(self.numbers), torch.zeros_like(self.numbers)
        self.constants = {
            f"flow.{name}": torch.stack([dict(job.flow.named_buffers())[name] for job in jobs])
            for name, _ in template.named_buffers()
        }
        self.alive = torch.ones(len(jobs), dtype=torch.bool)
        self.failed_at = torch.full((len(jobs),), -1)
        self.grad_norms = torch.zeros(len(jobs))
        loss = _Loss(template, jobs[0].objective)

        def loss_of_one(numbers: Tensor, constants: dict[str, Tensor], batch: Tensor) -> Tensor:
            state = self._named(numbers, "flow."), constants
            return functional_call(loss, state, (batch,), tie_weights=False)

        self.losses = vmap(loss_of_one)

    def configure_optimizers(self) -> None:
        """Adam's update is written out below, for its learning rate differs from job to job."""

    def train_dataloader(self) -> Endless:
        return Endless()

    def training_step(self, batch: Any, batch_idx: int) -> None:
        begun = time.perf_counter()
        start = self.trainer.global_step
        stop = end_of_call(self.config, start)
        before = self.alive
        losses = torch.stack([self._step(step) for step in range(start, stop)])
        count_steps(self.trainer, stop - start)
        self._put_aside(before)
        share = (time.perf_counter() - begun) / len(self.jobs)
        for place, job in self.living():
            job.record.add(losses[:, place], share)
            if job.record.due(stop):
                self.load_flow(place)
                job.record.write(stop, job.flow, float(self.grad_norms[place]), job.loggers)
        if not self.alive.any():
            self.trainer.should_stop = True

    def _step(self, step: int) -> Tensor:
        """One step of all jobs: Adam as torch computes it, with a rate for each job."""
        stop_if_asked()
        # No loss depends on the numbers of another job, so that the gradient of their sum holds those of all. Taken
        # inside vmap, gradients would cost half as much again.
        numbers = self.numbers.detach().requires_grad_()
        losses = self.losses(numbers, self.constants, torch.stack([job.stream(step) for job in self.jobs]))
        (gradients,) = torch.autograd.grad(losses.sum(), numbers)
        losses = losses.detach()
        finite = losses.isfinite() & gradients.isfinite().all(-1)
        self.failed_at = torch.where(self.alive & ~finite, step, self.failed_at)
        self.alive = self.alive & finite
        gradients = torch.where(self.alive[:, None], gradients, 0.0)
        self.grad_norms = gradients.norm(dim=-1)
        adam = self.config.optimizer
        if adam.clip is not None:
            factor = (adam.clip / (self.grad_norms + 1e-6)).clamp(max=1.0)
            gradients, self.grad_norms = gradients * factor[:, None], self.grad_norms * factor
        rates = [
            learning_rate(job.run.config.optimizer, step, self.config.max_steps) / (1 - adam.betas[0] ** (step + 1))
            for job in self.jobs
        ]
        rate = torch.tensor(rates, dtype=self.numbers.dtype) * self.alive
        self.first_moment.lerp_(gradients, 1 - adam.betas[0])
        self.second_moment.mul_(adam.betas[1]).addcmul_(gradients, gradients, value=1 - adam.betas[1])
        scale = self.second_moment.sqrt().div_((1 - adam.betas[1] ** (step + 1)) ** 0.5).add_(adam.eps)
        self.numbers = self.numbers - rate[:, None] * (self.first_moment / scale)
        return losses

    def _put_aside(self, before: Tensor) -> None:
        """Say of each job that has just failed where and why, as it would be said of the job alone."""
        for place in (before & ~self.alive).nonzero().flatten().tolist():
            job, step = self.jobs[place], int(self.failed_at[place])
            self.load_flow(place)
            message = describe_divergence(job.flow, job.stream(step), step, job.objective.inverse)
            job.failure = DivergedError(message)

    def living(self) -> list[tuple[int, Job]]:
        return [(place, job) for place, job in enumerate(self.jobs) if self.alive[place]]

    def load_flow(self, place: int) -> None:
        """Bring a job's flow to its present parameters."""
        with torch.no_grad():
            for parameter, values in zip(
                self.jobs[place].flow.parameters(), self.numbers[place].split(self.sizes), strict=True
            ):
                parameter.copy_(values.view_as(parameter))

    def checkpoint(self, place: int, common: dict[str, Any]) -> dict[str, Any]:
        """The checkpoint of one job, as it would be had it been trained alone.

        Arguments:
            place: of the job.
            common: what Lightning saves of the loop, which is the same for all.
        """
        job = self.jobs[place]
        self.load_flow(place)
        optimizer = build_optimizer(job.run.config.optimizer, job.flow.parameters()).state_dict()
        step = self.trainer.global_step
        for group in optimizer["param_groups"]:
            group["lr"] = learning_rate(job.run.config.optimizer, step - 1, self.config.max_steps)
        moments = zip(
            self._named(self.first_moment[place]).values(), self._named(self.second_moment[place]).values(), strict=True
        )
        optimizer["state"] = {
            number: {"step": torch.tensor(float(step)), "exp_avg": first.clone(), "exp_avg_sq": second.clone()}
            for number, (first, second) in enumerate(moments)
        }
        return common | {
            "state_dict": {f"flow.{name}": tensor.clone() for name, tensor in job.flow.state_dict().items()},
            "optimizer_states": [optimizer],
            "callbacks": {Checkpoints.__qualname__: job.saving.state_dict()},
            "flowlab": shape_of(job.flow) | job.record.state_dict(),
        }

    def restore(self, place: int, checkpoint: dict[str, Any]) -> None:
        """Put one job where its checkpoint has it."""
        job = self.jobs[place]
        weights, adam = checkpoint["state_dict"], checkpoint["optimizer_states"][0]["state"]
        self.numbers[place] = torch.cat([weights[f"flow.{name}"].flatten() for name in self.names])
        self.first_moment[place] = torch.cat([adam[number]["exp_avg"].flatten() for number in range(len(self.names))])
        self.second_moment[place] = torch.cat(
            [adam[number]["exp_avg_sq"].flatten() for number in range(len(self.names))]
        )
        job.saving.load_state_dict(checkpoint["callbacks"][Checkpoints.__qualname__])
        job.record.load_state_dict(checkpoint["flowlab"])

    def _named(self, numbers: Tensor, prefix: str = "") -> dict[str, Tensor]:
        """The parameters of one job by name, from their numbers in a row."""
        parts = numbers.split(self.sizes)
        return {
            f"{prefix}{name}": part.view(shape)
            for name, part, shape in zip(self.names, parts, self.shapes, strict=True)
        }


class _Loss(nn.Module):
    """An objective as a forward, which is what `functional_call` calls."""

    def __init__(self, flow: Flow, objective: Objective) -> None:
        super().__init__()
        self.flow, self.objective = flow, objective

    def forward(self, batch: Tensor) -> Tensor:
        return self.objective(self.flow, batch)


class StackCheckpoints(pl.Callback):
    """Writes the checkpoints of every job of a stack into its own directory."""

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, StackModule)
        due = [(place, job, job.saving.due(trainer.global_step, job.record)) for place, job in pl_module.living()]
        if not any(names for _, _, names in due):
            return
        common = trainer._checkpoint_connector.dump_checkpoint()
        for place, job, names in due:
            for name in names:
                directory = job.run.directory / "checkpoints"
                directory.mkdir(exist_ok=True)
                checkpoint = pl_module.checkpoint(place, common)
                write_atomically(directory / name, partial(torch.save, checkpoint))
