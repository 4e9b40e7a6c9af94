"""Hydra's way to flowlab's stacked training: `hydra/launcher=stacked`."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from flowlab.schemas import StackedLauncherConfig

ConfigStore.instance().store(group="hydra/launcher", name="stacked", node=StackedLauncherConfig, provider="flowlab")


class StackedLauncher(Launcher):
    """Trains the jobs of a sweep in a few processes, those of one shape as one batched model."""

    config: DictConfig
    hydra_context: HydraContext

    def __init__(self, processes: int | None, memory_gb: float) -> None:
        self.processes, self.memory_gb = processes, memory_gb

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.hydra_context = config, hydra_context

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from flowlab.cli import last_line, score
        from flowlab.config import to_config
        from flowlab.sweeps.train import train_many, usable_processes

        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        sweep = Path(str(self.config.hydra.sweep.dir))
        configs, directories, returns = [], [], []
        for number, overrides in enumerate(job_overrides, start=initial_job_idx):
            composed = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
            with open_dict(composed):
                composed.hydra.job.id = composed.hydra.job.num = number
            configs.append(to_config(composed))
            directories.append(sweep / str(composed.hydra.sweep.subdir))
            returns.append(JobReturn(overrides=overrides, cfg=composed, working_dir=str(directories[-1])))
        runs = train_many(
            configs,
            directories,
            sweep.name,
            self.processes or usable_processes(configs[0]),
            self.memory_gb,
            ended=lambda run: print(last_line(run), flush=True) if run.result else None,
        )
        for run, returned in zip(runs, returns, strict=True):
            # Whether a job failed is written in its directory; to a sweeper its value then is NaN.
            returned.status = JobStatus.COMPLETED
            returned.return_value = score(run.directory)
        return returns
