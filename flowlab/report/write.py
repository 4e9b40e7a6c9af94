"""Write a report: measure a flow, and put what is found on a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flowlab.config.errors import ConfigError
from flowlab.flow import Flow
from flowlab.report.record import Record
from flowlab.system.files import write_text
from flowlab.targets.base import Target


def write_report(
    path: Path,
    flow: Flow,
    target: Target,
    columns: Sequence[str],
    record: Record,
    command: Sequence[str] = (),
    data_seed: int = 0,
    seed: int = 0,
) -> None:
    """Write the page about a flow; equal arguments give equal bytes.

    A target with points is compared with rows of the flow. Without points, its log density judges the flow's draws.

    Arguments:
        path: the file.
        flow: a flow of vectors.
        target: the distribution that it has learned.
        columns: the names of the coordinates.
        record: facts about its training.
        command: the words that make the page.
        data_seed, seed: the seeds of rows of an exact target, and of the generated rows.

    Raises:
        ConfigError: scikit-learn is not installed, or the flow has no density or samples to compare.
    """
    try:
        from threadpoolctl import threadpool_limits  # scikit-learn brings it
    except ImportError:
        raise ConfigError(
            "a report needs scikit-learn, which is not installed; type pip install 'flowlab-nf[sklearn]'"
        ) from None

    from flowlab.report.density_page import Weighed, build_density_page
    from flowlab.report.findings import Measured
    from flowlab.report.page import build_page
    from flowlab.report.subject import Subject

    with threadpool_limits(1):  # sums in another order would change digits
        if target.has_points:
            page = build_page(Measured(Subject(flow, target, columns, data_seed, seed)), record, command)
        else:
            page = build_density_page(Weighed(flow, target, columns, seed), record, command)
    write_text(path, page)
