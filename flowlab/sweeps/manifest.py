"""manifest.json: the jobs of a sweep, so a stopped sweep can resume."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowlab.config.compose import flat, to_config
from flowlab.config.errors import ConfigError
from flowlab.system.files import WriteError, read_json, write_json

if TYPE_CHECKING:
    from flowlab.cli.jobs import Job

NAME = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """A sweep directory, as its manifest has it.

    Attributes:
        directory: of the sweep.
        words: the overrides of the command that began it.
        jobs: for each its overrides, its directory in that of the sweep, and its whole configuration.
        seconds: wall-clock time spent on it, over all sessions that ended by themselves.
    """

    directory: Path
    words: list[str]
    jobs: list[dict[str, Any]]
    seconds: float = 0.0

    @classmethod
    def of(cls, directory: Path, words: Sequence[str], jobs: Sequence[Job]) -> Manifest:
        return cls(
            directory,
            list(words),
            [
                {
                    "overrides": job.overrides,
                    "directory": str(job.directory.relative_to(directory)),
                    "config": job.config.to_dict(),
                }
                for job in jobs
            ],
        )

    @classmethod
    def read(cls, directory: Path) -> Manifest:
        """Read the manifest of a sweep directory.

        Raises:
            ConfigError: there is none, or it is damaged.
        """
        path = directory / NAME
        if not path.is_file():
            raise ConfigError(f"{directory}: not the directory of a sweep: there is no {NAME} in it")
        content = read_json(path)
        try:
            words, jobs, seconds = content["words"], content["jobs"], float(content["seconds"])
            jobs = [{name: job[name] for name in ("overrides", "directory", "config")} for job in jobs]
            sound = math.isfinite(seconds) and _are_words(words) and all(map(_is_job, jobs))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{path}: is not the manifest of a sweep: {type(error).__name__}: {error}") from None
        if not sound:
            raise ConfigError(f"{path}: is not the manifest of a sweep: its words, jobs or seconds are of other types")
        for job in jobs:
            name = job["directory"]
            if not name or Path(name).name != name or name == "..":
                raise ConfigError(f"{path}: the directory {name!r} of a job leads out of the sweep")
        return cls(directory, words, jobs, seconds)

    def write(self, seconds: float = 0.0) -> None:
        """Write it, with `seconds` added to those spent before."""
        content = {"words": self.words, "seconds": round(self.seconds + seconds, 3), "jobs": self.jobs}
        write_json(self.directory / NAME, content)

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Write it, and count the time of a block."""
        self.write()
        begun = time.perf_counter()
        try:
            yield
        finally:
            with contextlib.suppress(WriteError):  # the time alone is lost
                self.write(time.perf_counter() - begun)

    @property
    def exists(self) -> bool:
        """Whether the sweep has begun."""
        return (self.directory / NAME).is_file()

    def check_same_sweep(self, other: Manifest) -> None:
        """Check that a command asks for this sweep.

        Raises:
            ConfigError: a job is missing, added or differs; the first difference is named.
        """
        advice = f"continue with sweep_resume={self.directory} alone, or choose another directory"
        if len(self.jobs) != len(other.jobs):
            raise ConfigError(
                f"{self.directory}: holds a sweep of {len(self.jobs)} jobs, and not of {len(other.jobs)}; {advice}"
            )
        for number, (there, here) in enumerate(zip(self.jobs, other.jobs, strict=True)):
            before, now = (_settings(job["config"]) for job in (there, here))
            for name in [*before, *(name for name in now if name not in before)]:
                if before.get(name) != now.get(name):
                    raise ConfigError(
                        f"{self.directory}: holds another sweep: job {number} has {name}={before.get(name)!r} there "
                        f"and {now.get(name)!r} here; {advice}"
                    )
            if there["directory"] != here["directory"]:
                raise ConfigError(
                    f"{self.directory}: job {number} lies in {there['directory']}, and not in {here['directory']}; "
                    f"{advice}"
                )


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration of any version as flat settings, as JSON has them: a tuple is a list, and every key a string."""
    return flat(json.loads(json.dumps(to_config(config).to_dict())))


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _is_job(job: dict[str, Any]) -> bool:
    """Whether a job of a manifest has words, a name for its directory, and a configuration."""
    typed = isinstance(job["directory"], str) and isinstance(job["config"], dict)
    return typed and _are_words(job["overrides"])
