"""manifest.json: the jobs of a sweep, so a stopped sweep can resume, and the check that they all have the same data."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowlab.config.errors import ConfigError
from flowlab.config.schema import flat, to_config
from flowlab.system.files import WriteError, read_json, write_json

if TYPE_CHECKING:
    from flowlab.cli.jobs import Job
    from flowlab.runs.directory import Run
    from flowlab.targets.base import Target

NAME = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """The jobs of a sweep directory.

    Attributes:
        directory: the sweep directory.
        words: the overrides of the command that began the sweep.
        jobs: each job's overrides, its directory inside the sweep's, and its whole configuration.
        seconds: wall-clock time of all sessions that ended by themselves.
    """

    directory: Path
    words: list[str]
    jobs: list[dict[str, Any]]
    seconds: float = 0.0

    @classmethod
    def of(cls, directory: Path, words: Sequence[str], jobs: Sequence[Job]) -> Manifest:
        """The manifest of a sweep that begins."""
        entries = [
            {
                "overrides": job.overrides,
                "directory": str(job.directory.relative_to(directory)),
                "config": job.config.to_dict(),
            }
            for job in jobs
        ]
        return cls(directory, list(words), entries)

    @classmethod
    def read(cls, directory: Path) -> Manifest:
        """Read the manifest of a sweep directory; raise ConfigError if there is none, or it is damaged."""
        path = directory / NAME
        if not path.is_file():
            is_run = (directory / "config.yaml").is_file()
            hint = f"; it is a run: continue it with resume={directory}" if is_run else ""
            raise ConfigError(f"{directory}: not the directory of a sweep: there is no {NAME} in it{hint}")
        content = read_json(path)
        try:
            words, seconds = content["words"], float(content["seconds"])
            jobs = [{name: job[name] for name in ("overrides", "directory", "config")} for job in content["jobs"]]
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{path}: is not the manifest of a sweep: {type(error).__name__}: {error}") from None
        sound = [
            _are_words(job["overrides"]) and isinstance(job["directory"], str) and isinstance(job["config"], dict)
            for job in jobs
        ]
        if not all(sound) or not _are_words(words) or not math.isfinite(seconds):
            raise ConfigError(f"{path}: is not the manifest of a sweep: its words, jobs or seconds are of other types")
        for job in jobs:
            name = job["directory"]
            if not name or Path(name).name != name or name == "..":
                raise ConfigError(f"{path}: the directory {name!r} of a job leads out of the sweep")
        return cls(directory, words, jobs, seconds)

    def write(self, seconds: float = 0.0) -> None:
        """Write manifest.json, with `seconds` added to those spent before."""
        content = {"words": self.words, "seconds": round(self.seconds + seconds, 3), "jobs": self.jobs}
        write_json(self.directory / NAME, content)

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Write manifest.json, and count the time of a block."""
        self.write()
        begun = time.perf_counter()
        try:
            yield
        finally:
            with contextlib.suppress(WriteError):  # the time alone is lost
                self.write(time.perf_counter() - begun)

    def changed_defaults(self, other: Manifest) -> list[str]:
        """Overrides that give the settings of this sweep where `other`, from the same words, has other defaults."""
        if [job["overrides"] for job in self.jobs] != [job["overrides"] for job in other.jobs]:
            return []
        both = [(_settings(a["config"]), _settings(b["config"])) for a, b in zip(self.jobs, other.jobs, strict=True)]
        before = both[0][0] if both else {}
        return [
            f"{name}={json.dumps(value)}"
            for name, value in before.items()
            if all(now.get(name, value) != value == there.get(name) for there, now in both)
        ]

    def check_same_sweep(self, other: Manifest) -> None:
        """Raise ConfigError with the first difference unless `other` has the same jobs."""
        advice = f"continue with sweep_resume={self.directory} alone, or choose another directory"
        if len(self.jobs) != len(other.jobs):
            raise ConfigError(
                f"{self.directory}: holds a sweep of {len(self.jobs)} jobs, and not of {len(other.jobs)}; {advice}"
            )
        for number, (there, here) in enumerate(zip(self.jobs, other.jobs, strict=True)):
            before, now = (_settings(job["config"]) for job in (there, here))
            for name in before | now:
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


def check_same_data(runs: Sequence[Run]) -> None:
    """Raise ConfigError if data have changed since the first runs of a sweep began, and others are still to be trained.

    A table of all runs would mean nothing.
    """
    targets: dict[str, Target] = {}
    begun: list[tuple[Run, str]] = []
    waiting = False
    for run in runs:
        with contextlib.suppress(ConfigError):  # a damaged file is reported when the run is opened
            waiting |= not run.done
            if "data_sha256" in run.provenance:
                begun.append((run, run.provenance["data_sha256"]))
    for run, sha256 in begun if waiting else ():
        name = str(run.config.target)
        target = targets[name] = targets.get(name) or run.config.target.build()
        if target.fingerprint != sha256:
            raise ConfigError(
                f"{getattr(target, 'path', name)}: the file has changed since {run.directory} began, and a sweep has "
                "the same data to its end; put it back, or start a new sweep"
            )
