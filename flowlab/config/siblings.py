"""Jobs of a sweep that differ in plain values alone: Hydra composes the first of them, at 80 ms, and not the others."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from flowlab.config.compose import compose_yaml, parse_overrides, rename_words
from flowlab.config.directories import conf_directories
from flowlab.config.security import check_words


class Siblings:
    """Composes the jobs of a command, with Hydra's settings; equal to `compose_yaml` of each, also in its errors."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, ...], DictConfig] = {}
        self.groups = {path.name for top in conf_directories() for path in top.iterdir() if path.is_dir()}

    def compose(self, words: Sequence[str]) -> DictConfig:
        """Compose a job; raise ConfigError as `compose_yaml` does."""
        words = rename_words(words)
        parsed = parse_overrides(words)
        shape = tuple(f"{o.key_or_group}=" if self._is_plain(o) else str(o.input_line) for o in parsed)
        if shape not in self.known:
            composed = compose_yaml(words, hydra_settings=True)
            self.known[shape] = copy.deepcopy(composed)
            return composed
        check_words(words)
        composed = copy.deepcopy(self.known[shape])
        # Hydra applies values after it has merged all files, in the order of the words, and so does this.
        ConfigLoaderImpl._apply_overrides_to_config([each for each in parsed if self._is_plain(each)], composed)
        own = [each for each in parsed if not each.is_hydra_override()]
        job = composed.hydra.job
        composed.hydra.overrides.task = [each.input_line for each in own]
        job.override_dirname = get_overrides_dirname(overrides=own, **_separators(job.config.override_dirname))
        return composed

    def _is_plain(self, override: Override) -> bool:
        """Whether a word changes a number, a truth value or a text, which decides nothing else."""
        key, value = override.key_or_group, override.value()
        usual = not (override.is_add() or override.is_force_add() or override.is_delete() or override.package)
        is_key = key not in self.groups and "/" not in key and not key.startswith("hydra.") and "._" not in key
        return usual and is_key and isinstance(value, int | float | str) and "$" not in str(override.input_line)


def _separators(settings: DictConfig) -> dict[str, Any]:
    names = ("kv_sep", "item_sep", "exclude_keys")
    return {name: OmegaConf.select(settings, name) for name in names}
