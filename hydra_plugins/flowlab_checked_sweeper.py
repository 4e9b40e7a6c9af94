"""Hydra's basic sweeper without its checks: the command line uses it for jobs that are checked already."""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore


@dataclass
class CheckedSweeperConfig(BasicSweeperConf):
    _target_: str = "hydra_plugins.flowlab_checked_sweeper.CheckedSweeper"


ConfigStore.instance().store(group="hydra/sweeper", name="checked", node=CheckedSweeperConfig, provider="flowlab")


class CheckedSweeper(BasicSweeper):
    """Every combination of the values, in order."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Do nothing: `flowlab.cli.jobs` has composed every job already, at about 40 ms a job."""
