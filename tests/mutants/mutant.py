"""A seeded fault, and the list of them."""

import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("mutants.toml")


@dataclass(frozen=True)
class Mutant:
    """A fault: `new` in the place of `old`, which stands once in `file`; one of `tests` must fail of it."""

    name: str
    file: str
    old: str
    new: str
    tests: list[str]

    def problem(self) -> str | None:
        """Why it cannot be made in this tree, if it cannot."""
        path = ROOT / self.file
        count = path.read_text(encoding="utf-8").count(self.old) if path.is_file() else 0
        if count != 1:
            return f"{self.name}: {self.old!r} stands {count} times in {self.file}; it must stand there once"
        return None if self.old != self.new and self.tests else f"{self.name}: it changes nothing, or names no test"


def load(path: Path = LIST) -> list[Mutant]:
    """The mutants of a list."""
    return [Mutant(**entry) for entry in tomllib.loads(path.read_text(encoding="utf-8"))["mutants"]]


def files_of_the_tree() -> list[str]:
    """The files that are committed or may be: as they are here, and without environments, runs and the like."""
    command = ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if (ROOT / name).is_file()]
