"""`flowlab-sample`: draw new rows from the flow of a run, into a file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flowlab.cli.command import carry_out, columns_of, new_file, trained_flow
from flowlab.config.component import setting
from flowlab.config.errors import ConfigError
from flowlab.system.files import write_atomically
from flowlab.system.process import print_line

if TYPE_CHECKING:
    from flowlab.runs.directory import Run

USAGE = """\
flowlab-sample: draw new rows from the flow of a run

  flowlab-sample RUN output=new.csv                    10 000 rows
  flowlab-sample RUN n=1000000 output=new.csv.gz       a million, compressed
  flowlab-sample RUN output=new.csv seed=1             other rows; equal seeds give equal rows
  flowlab-sample RUN output=new.csv context=[0.5,2]    given values of what the flow is conditioned on

RUN is a run directory. A file that exists is not overwritten."""

CHUNK = 100_000  # rows that are in memory at once


@dataclass(kw_only=True)
class SampleOptions:
    """The keys of `flowlab-sample`.

    Attributes:
        output: the file, a .csv, perhaps compressed.
        n: rows.
        seed: of the rows.
        context: the values that the rows are conditioned on, for a conditional flow.
    """

    output: str
    n: int = setting(10_000, minimum=1)
    seed: int = setting(0, minimum=0)
    context: list[float] | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, the words after the program's name, and return the exit status."""
    return carry_out(arguments, USAGE, SampleOptions, sample)


def sample(run: Run, options: SampleOptions) -> None:
    """Write rows of the flow, a chunk at a time, so that memory does not grow with their number.

    Raises:
        ConfigError: the run has no result, the file exists, or the context does not fit.
    """
    import pandas
    import torch

    from flowlab.seeding import generator

    path = new_file("output", options.output, (".csv", ".csv.gz", ".csv.bz2", ".csv.xz"))
    flow, columns = trained_flow(run), columns_of(run)
    context = _context(run, options)

    def write(part: Path) -> None:
        # The name of the part says nothing of the compression.
        compression = {"gz": "gzip", "bz2": "bz2", "xz": "xz"}.get(path.suffix[1:])
        with pandas.io.common.get_handle(part, "w", compression=compression, encoding="utf-8") as file:
            for number, begin in enumerate(range(0, options.n, CHUNK)):
                count = min(CHUNK, options.n - begin)
                given = None if context is None else context.expand(count, -1)
                shape = (count,) if given is None else ()
                with torch.no_grad():
                    rows = flow.rsample(shape, given, generator(options.seed, "rows", number))
                table = pandas.DataFrame(rows.numpy(), columns=columns)
                table.to_csv(file.handle, index=False, header=begin == 0, lineterminator="\n")

    write_atomically(path, write)
    print_line(f"wrote {options.n:,} rows to {options.output}", sys.stdout)


def _context(run: Run, options: SampleOptions):  # a Tensor or None; torch is imported late
    import torch

    from flowlab.plotting.runs import any_tensor
    from flowlab.runs.checkpoint import shapes_of

    shape = shapes_of(run.checkpoint(run.result.get("weights", "last")))[1]
    if (shape is None) != (options.context is None):
        needs = "is for a conditional flow; leave it out" if shape is None else f"must be given: {shape[0]} number(s)"
        raise ConfigError(f"context: {needs}")
    if options.context is None:
        return None
    if shape is not None and len(options.context) != shape[0]:
        raise ConfigError(f"context={options.context}: must be {shape[0]} number(s), as context=[0.5]")
    return torch.tensor(options.context, dtype=any_tensor(run.flow).dtype)


if __name__ == "__main__":
    sys.exit(main())
