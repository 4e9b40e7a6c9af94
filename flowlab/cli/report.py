"""`flowlab-report`: one HTML page about a trained run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowlab.cli.command import carry_out, columns_of, trained_flow
from flowlab.config.component import setting
from flowlab.config.paths import new_file
from flowlab.system.process import print_line

if TYPE_CHECKING:
    from flowlab.runs.directory import Run

USAGE = """\
flowlab-report: one HTML page about a trained run: how well it describes held-out rows, and how real its rows are

  flowlab-report RUN                      writes RUN/report.html
  flowlab-report RUN output=page.html     another file
  flowlab-report RUN seed=1               other generated rows; equal seeds give equal bytes

RUN is a run directory. The page compares the flow with a Gaussian, a Gaussian mixture, a kernel density and a Gaussian
copula. For a target without rows, such as target=density, it has the ELBO, log Z, weights and marginals instead. It
needs scikit-learn: pip install 'flowlab-nf[sklearn]'. A file that exists is not overwritten."""


@dataclass(kw_only=True)
class ReportOptions:
    """The keys of `flowlab-report`.

    Attributes:
        output: the file, an .html; None is report.html in the run directory.
        seed: the seed of the generated rows, the mixture and the classifier.
    """

    output: str | None = None
    seed: int = setting(0, minimum=0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, the words after the program's name, and return the exit status."""
    return carry_out(arguments, USAGE, ReportOptions, report)


def report(run: Run, options: ReportOptions) -> None:
    """Write the page.

    Raises:
        ConfigError: the run has no result, the file exists, the data have changed, or scikit-learn is not installed.
    """
    path = new_file("output", options.output or str(run.directory / "report.html"), (".html",))
    flow = trained_flow(run)
    from flowlab.report.record import describe_run
    from flowlab.report.write import write_report

    command = ["flowlab-report", str(run.directory), *([f"seed={options.seed}"] if options.seed else [])]
    write_report(path, flow, run.target, columns_of(run), describe_run(run), command, run.config.seed, options.seed)
    print_line(f"wrote {path}", sys.stdout)


if __name__ == "__main__":
    sys.exit(main())
