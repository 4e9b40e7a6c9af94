"""Recorded results: tables of runs that take longer than a lesson, with the command and the versions behind them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowlab.claims.ledger import LedgerError

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Record:
    """A recorded result.

    Attributes:
        name: its name, the stem of its files.
        table: a row for each run or measurement.
        origin: the command, the versions, the commit and the number of runs of each status.
    """

    name: str
    table: pandas.DataFrame = field(repr=False)
    origin: dict[str, Any] = field(repr=False)

    def curves(self, metric: str) -> pandas.DataFrame:
        """Return a metric of every run by optimizer step: a row for each step, a column for each run.

        Raises:
            LedgerError: the record has no curves of this metric.
        """
        import pandas

        path = records_directory() / f"{self.name}_{metric}.csv"
        if not path.is_file():
            prefix, known = f"{self.name}_", sorted(records_directory().glob(f"{self.name}_*.csv"))
            metrics = [each.stem.removeprefix(prefix) for each in known if not each.with_suffix(".json").is_file()]
            raise LedgerError(f"{self.name}: has no curves of {metric!r}; recorded are {', '.join(metrics) or 'none'}")
        return pandas.read_csv(path, index_col="step")


@cache
def records_directory() -> Path:
    """The directory of the records: inside the installed package, or `experiments/results` in a clone."""
    package = Path(__file__).parents[1]
    inside = package / "records"
    return inside if inside.is_dir() else package.parent / "experiments" / "results"


def load_record(name: str) -> Record:
    """Load a recorded result; it is shipped with flowlab, so a lesson needs no other file.

    Arguments:
        name: the record's name, such as `depth_rank`; scripts write records by `--record experiments/results/NAME`.

    Raises:
        LedgerError: there is no such record; the message names those that exist.

    Example:
        >>> from flowlab.claims import load_record
        >>> record = load_record("jang2018")
        >>> len(record.table), record.origin["status"], record.curves("loss").shape
        (16, {'done': 16}, (89, 16))
    """
    import pandas

    known = sorted(path.stem for path in records_directory().glob("*.json"))
    if name not in known:
        raise LedgerError(f"load_record({name!r}): there is no such record; allowed are {', '.join(known)}")
    path = records_directory() / name
    origin = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return Record(name, pandas.read_csv(path.with_suffix(".csv")), origin)
