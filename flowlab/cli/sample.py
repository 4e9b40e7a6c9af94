"""`flowlab-sample`: draw new rows from the flow of a run, into a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowlab.cli.command import carry_out, columns_of, trained_flow
from flowlab.cli.rows import ENDINGS, check_ending, split_context, write_rows
from flowlab.config.component import setting
from flowlab.config.errors import ConfigError
from flowlab.config.paths import local_path, new_file
from flowlab.system.files import write_atomically
from flowlab.system.process import print_line

if TYPE_CHECKING:
    import pandas
    from torch import Tensor

    from flowlab.runs.directory import Run
    from flowlab.tables.schema import Schema

USAGE = """\
flowlab-sample: draw new rows from the flow of a run

  flowlab-sample RUN output=new.csv                    10 000 rows
  flowlab-sample RUN n=1000000 output=new.csv.gz       a million, compressed; or .parquet
  flowlab-sample RUN output=new.csv seed=1             other rows; equal seeds give equal rows
  flowlab-sample RUN output=new.csv context=[age=30,group=a]
                                                       given values of what a table's flow is conditioned on
  flowlab-sample RUN output=new.csv context=rows.csv   a row for each row of conditions in a file
  flowlab-sample RUN output=new.csv context=[0.5,2]    given the numbers of a condition without names

RUN is a run directory. Values lie in the domains of their columns and have their types. A file that exists is not
overwritten."""

CHUNK = 100_000  # rows that are in memory at once
DEFAULT_ROWS = 10_000


@dataclass(kw_only=True)
class SampleOptions:
    """The keys of `flowlab-sample`.

    Attributes:
        output: the file, a .csv, perhaps compressed, or a .parquet.
        n: rows; None is 10 000, or a row for each row of a file of conditions.
        seed: the seed of the rows.
        context: the values that the rows are conditioned on, as texts NAME=VALUE or numbers, or the path of a file.
    """

    output: str
    n: int | None = setting(None, minimum=1)
    seed: int = setting(0, minimum=0)
    context: Any = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, the words after the program's name, and return the exit status."""
    return carry_out(arguments, USAGE, SampleOptions, sample)


def sample(run: Run, options: SampleOptions) -> None:
    """Write rows of the flow, a chunk at a time, so memory does not grow with their number.

    Raises:
        ConfigError: the run has no result, the file exists or cannot be written, or the context does not fit.
    """
    path = new_file("output", options.output, ENDINGS)
    check_ending("output", options.output)
    flow = trained_flow(run)
    conditions, context = _conditions(run, options)
    schema, is_text = run.schema, path.suffix != ".parquet"
    short = [schema.columns[place] for place in schema.unbounded] if schema and is_text else []
    count = options.n or (DEFAULT_ROWS if conditions is None or len(conditions) == 1 else len(conditions))

    def chunks() -> Iterator[pandas.DataFrame]:
        import torch

        from flowlab.seeding import generator

        for number, begin in enumerate(range(0, count, CHUNK)):
            size = min(CHUNK, count - begin)
            several = context is not None and len(context) > 1
            given = None if context is None else context[begin : begin + size] if several else context.expand(size, -1)
            with torch.no_grad():
                points = flow.rsample((size,) if given is None else (), given, generator(options.seed, "rows", number))
            rows = _rows(run, points, conditions, begin)
            # A number of the flow's own precision is written with as many digits as it has.
            yield rows.astype({name: points.numpy().dtype for name in short})

    write_atomically(path, lambda part: write_rows(chunks(), part, path))
    print_line(f"wrote {count:,} rows to {options.output}", sys.stdout)


def _rows(run: Run, points: Tensor, conditions: pandas.DataFrame | None, begin: int) -> pandas.DataFrame:
    """The rows of points, with the columns that they are conditioned on."""
    import pandas

    if run.schema is None:
        return pandas.DataFrame(points.numpy(), columns=columns_of(run))
    rows = run.schema.decode(points)
    if conditions is None:
        return rows
    several = len(conditions) > 1
    given = conditions.iloc[begin : begin + len(rows)] if several else conditions.iloc[[0] * len(rows)]
    return pandas.concat([rows, given.reset_index(drop=True)], axis=1)


def _conditions(run: Run, options: SampleOptions) -> tuple[pandas.DataFrame | None, Tensor | None]:
    """The columns of the conditions, if a table has them; and the contexts, of shape (1, c) or (n, c)."""
    import torch

    from flowlab.flows._assemble import shapes_of

    shape = shapes_of(run.checkpoint(run.result.get("weights", "last"))["flowlab"])[1]
    schema = run.schema if run.schema is not None and run.schema.conditions else None
    if shape is None and options.context is not None:
        raise ConfigError("context: is for a conditional flow; leave it out")
    if shape is None:
        return None, None
    if options.context is None:
        example = ",".join(f"{name}=VALUE" for name in schema.context_columns) if schema else ""
        needed = f"the values of its conditions, as context=[{example}]" if schema else f"{shape[0]} number(s)"
        raise ConfigError(f"context: must be given: {needed}")
    dtype = run.flow.anchor.dtype
    if schema is not None:
        frame = _read_conditions(schema, options)
        return frame, schema.encode_context(frame).to(dtype)
    given = options.context
    if not isinstance(given, list) or len(given) != shape[0] or not all(map(_is_number, given)):
        raise ConfigError(f"context={given}: must be {shape[0]} number(s), as context=[0.5]")
    return None, run.target.encode_context(torch.tensor([given], dtype=dtype))


def _read_conditions(schema: Schema, options: SampleOptions) -> pandas.DataFrame:
    """The conditions of words NAME=VALUE, or of the rows of a file."""
    from flowlab.targets._points import read_table

    if isinstance(options.context, str) and "=" not in options.context:
        path = Path(local_path("context", options.context))
        frame = schema.context_frame(read_table(path).table, where=options.context)
        if options.n is not None and len(frame) > 1:
            raise ConfigError(f"n={options.n}: {options.context} decides it: a row for each of its rows; leave n out")
        return frame
    return schema.context_frame(split_context(options.context, schema.context_columns))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


if __name__ == "__main__":
    sys.exit(main())
