"""Hydra's way to flowlab's stacked training: `hydra/launcher=stacked`."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

NODE = {"_target_": "hydra_plugins.flowlab_stacked_launcher.StackedLauncher"}
ConfigStore.instance().store(group="hydra/launcher", name="stacked", node=NODE, provider="flowlab")


class StackedLauncher(Launcher):
    """Trains the jobs of a sweep in one process, those of one shape as one batched model."""

    config: DictConfig
    hydra_context: HydraContext

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.hydra_context = config, hydra_context

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from flowlab.cli import last_line, objective
        from flowlab.config import to_config
        from flowlab.sweeps.train import train_many

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
        for run, returned in zip(train_many(configs, directories, sweep.name), returns, strict=True):
            # Whether a job failed is written in its directory; a search takes None for a failed trial.
            if run.result:
                print(last_line(run))
            returned.status = JobStatus.COMPLETED
            returned.return_value = objective(run.directory)
        return returns
