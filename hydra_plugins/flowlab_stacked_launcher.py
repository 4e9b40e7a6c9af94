"""The launchers `hydra/launcher=stacked` and `basic`, and a sweeper for jobs that are checked: plugins of Hydra."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra._internal.core_plugins import basic_launcher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from flowlab.cli.engines import LAUNCHERS
from flowlab.cli.product import list_jobs
from flowlab.config.registry import add_suitable_options


@dataclass
class CheckedSweeperConfig(BasicSweeperConf):
    _target_: str = "hydra_plugins.flowlab_stacked_launcher.CheckedSweeper"


STORE = ConfigStore.instance()
for _name, _node in LAUNCHERS.items():
    STORE.store(group="hydra/launcher", name=_name, node=_node, provider="flowlab")
STORE.store(group="hydra/sweeper", name="checked", node=CheckedSweeperConfig, provider="flowlab")


class CheckedSweeper(BasicSweeper):
    """The jobs of `list_jobs`; the command line uses it for jobs that are checked already."""

    @staticmethod
    def split_arguments(overrides: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:
        jobs = [add_suitable_options(job) for job in list_jobs(overrides)]
        return list(BasicSweeper.split_overrides_to_chunks(jobs, max_batch_size))

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Do nothing: `flowlab.cli.jobs` has composed every job already, at about 40 ms a job."""


class BasicLauncher(basic_launcher.BasicLauncher):
    """Hydra's own launcher; the function that it calls for each job reads `fail_fast`."""

    def __init__(self, fail_fast: bool = False) -> None:
        super().__init__()


class StackedLauncher(Launcher):
    """`hydra/launcher=stacked` trains the jobs in a few processes; jobs of one shape become one batched model."""

    config: DictConfig
    hydra_context: HydraContext

    def __init__(self, processes: int | None, memory_gb: float, fail_fast: bool = False) -> None:
        self.processes, self.memory_gb, self.fail_fast = processes, memory_gb, fail_fast

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.hydra_context = config, hydra_context

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from flowlab.cli.jobs import compose_job
        from flowlab.cli.output import last_line, score
        from flowlab.sweeps.train_many import train_many, usable_processes
        from flowlab.system.process import print_line

        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        sweep = Path(str(self.config.hydra.sweep.dir))
        load = self.hydra_context.config_loader.load_sweep_config
        jobs = [
            compose_job(words, number, sweep, lambda words: load(self.config, list(words)))
            for number, words in enumerate(job_overrides, start=initial_job_idx)
        ]
        runs = train_many(
            [job.config for job in jobs],
            [job.directory for job in jobs],
            sweep.name,
            self.processes or usable_processes(),
            self.memory_gb,
            ended=lambda run: print_line(last_line(run), sys.stdout) if run.result else None,
            say=print_line,
            fail_fast=self.fail_fast,
        )
        # A failed job is recorded in its directory; None tells a search that a trial has failed.
        return [
            JobReturn(
                overrides=job.overrides,
                cfg=self.config,
                working_dir=str(run.directory),
                status=JobStatus.COMPLETED,
                _return_value=score(run.directory),
            )
            for job, run in zip(jobs, runs, strict=True)
        ]
