"""The jobs of a sweep as a product: keys that vary together, and keys that only some options of a group have."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cache

from hydra.core.override_parser.types import Glob, IntervalSweep, Override, RangeSweep

from flowlab.config.compose import compose_yaml, parse_overrides
from flowlab.config.errors import ConfigError
from flowlab.config.hints import component_keys
from flowlab.config.registry import PACKAGES, option_names

# Every job is composed and checked before the first one starts, at about 40 ms a job.
MAX_JOBS = 10_000


def list_jobs(overrides: Sequence[Override]) -> list[list[str]]:
    """The words of every job, in Hydra's order.

    Sweeps with the same tag zip, zip2 ... vary together. In a sweep over options of a group, as flow=custom,prelu, a
    key that only some of them have goes to their jobs alone.

    Example:
        >>> from flowlab.config.compose import parse_overrides
        >>> from flowlab.cli.product import list_jobs
        >>> words = ["flow.depth=tag(zip,choice(2,4))", "flow.rank=tag(zip,choice(0,1))"]
        >>> list_jobs(parse_overrides(["seed=3", *words]))
        [['seed=3', 'flow.depth=2', 'flow.rank=0'], ['seed=3', 'flow.depth=4', 'flow.rank=1']]
    """
    last = list({override.get_key_element(): override for override in overrides}.values())
    axes: dict[str, list[tuple[tuple[Override, str], ...]]] = {}
    for override in last:
        key, name = override.get_key_element(), find_axis(override)
        values = (
            override.sweep_string_iterator() if override.is_sweep_override() else [override.get_value_element_as_str()]
        )
        words: list[tuple[tuple[Override, str], ...]] = [((override, f"{key}={value}"),) for value in values]
        before = axes.get(name, [()] * len(words))
        axes[name] = [(*one, *two) for one, two in zip(before, words, strict=True)]
    options = swept_options(last)
    jobs: list[list[str]] = []
    for parts in itertools.product(*axes.values()):
        pairs = [pair for part in parts for pair in part]
        chosen = {o.key_or_group: word.partition("=")[2] for o, word in pairs if o.key_or_group in options}
        kept = [word for override, word in pairs if _applies(override, chosen, options)]
        if len(kept) == len(pairs) or kept not in jobs:
            jobs.append(kept)
    return jobs


def check_count(overrides: Sequence[Override]) -> None:
    """Refuse a sweep without jobs, or with more than MAX_JOBS, before its jobs are listed."""
    counts: dict[str, float] = {}
    for override in overrides:
        key, name, count = override.get_key_element(), find_axis(override), _count(override)
        if count < 1:
            raise ConfigError(f"{key}: the sweep expands to no job: this key was given no value")
        if counts.setdefault(name, count) != count:
            raise ConfigError(
                f"{key}: has {count:,.0f} values, and another key with the tag {name} has {counts[name]:,.0f}; keys "
                "with one tag vary together: give each as many values"
            )
    jobs = math.prod(counts.values())
    if jobs > MAX_JOBS:
        swept = [override.get_key_element() for override in overrides if override.is_sweep_override()]
        raise ConfigError(
            f"{', '.join(swept)}: would be a sweep of {jobs:,.0f} jobs; at most {MAX_JOBS:,} are allowed: split the "
            "sweep"
        )


def find_axis(override: Override) -> str:
    """The axis of a sweep along which a key varies: the key's own axis, or the axis of its tag zip, zip2 ..."""
    tags = getattr(override.value(), "tags", ())
    return min((tag for tag in tags if tag.startswith("zip")), default=override.get_key_element())


def _count(override: Override) -> float:
    """Count the values of a key without listing a range, which may be endless."""
    value = override.value()
    if not override.is_sweep_override():
        return 1
    if isinstance(value, IntervalSweep):
        raise ConfigError(f"{override.input_line}: an INTERVAL needs a search, as +sweep=search; give a sweep a list")
    if not isinstance(value, RangeSweep):
        return sum(1 for _ in override.sweep_iterator())
    if not value.step or not math.isfinite(value.step):
        raise ConfigError(f"{override.input_line}: the step of a range must be a finite number and not 0")
    count = (float(value.stop or 0) - float(value.start or 0)) / value.step
    return math.ceil(count) if math.isfinite(count) else math.inf


def swept_options(overrides: Sequence[Override]) -> dict[str, list[str]]:
    """The options of each group of components that is swept."""
    swept = [override for override in overrides if override.key_or_group in PACKAGES and override.is_sweep_override()]
    return {override.key_or_group: _list_options(override) for override in swept}


def _list_options(override: Override) -> list[str]:
    value = override.value()
    if isinstance(value, Glob):
        return value.filter(option_names(override.key_or_group))
    return [str(each) for each in override.sweep_string_iterator()]


def as_choices(words: Sequence[str]) -> list[str]:
    """Make a sweep over one value of each key of a swept group: Hydra composes other words for all jobs at once."""
    parsed = parse_overrides(words)
    options = swept_options(parsed)
    return [
        f"{override.get_key_element()}=choice({override.get_value_element_as_str()})"
        if override.key_or_group.partition(".")[0] in options and not override.is_sweep_override()
        else word
        for word, override in zip(words, parsed, strict=True)
    ]


def _applies(override: Override, chosen: dict[str, str], options: dict[str, list[str]]) -> bool:
    """Whether a job has the key of a word; one that no option has is kept, for its error."""
    group, _, key = override.key_or_group.partition(".")
    if group not in options or not key:
        return True
    has = {option: _has_key(group, option, key, override.is_add()) for option in options[group]}
    return has[chosen[group]] or not any(has.values())


@cache
def _has_key(group: str, option: str, key: str, is_added: bool) -> bool:
    """Whether an option has a key in its YAML or component; an added one is a key of a user's own class."""
    node = compose_yaml([f"{group}={option}"])[group]
    keys = [*node.keys(), *component_keys(group, node)]  # `in` would leave out those without a value
    return "_target_" in keys and key not in keys if is_added else key.partition(".")[0] in keys
