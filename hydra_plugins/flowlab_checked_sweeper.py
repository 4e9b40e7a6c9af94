"""Hydra's basic sweeper for jobs that have been checked; the command line takes it in the place of that."""

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
        """`flowlab.cli.jobs` has composed every job already, which takes some 40 ms each."""
