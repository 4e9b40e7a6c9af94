"""Print the table at the end of `make conformance`: the properties that hold, and their count."""

import pytest
from conformance.tables import NAMES

from flowlab.testing import PROPERTIES

WIDTH = 30  # characters of a name

cells: dict[tuple[str, int], dict[str, bool]] = {}
tails: list[tuple[str, str, float, float, bool]] = []


def pytest_runtest_logreport(report):
    if report.when != "call":
        return
    for kind, content in report.user_properties:
        if kind == "cell":
            name, number, dtype = content
            cells.setdefault((name, number), {})[dtype] = report.passed
        if kind == "tail":
            tails.append((*content, report.passed))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    yield
    if hasattr(session.config, "workerinput") or not (cells or tails):
        return
    write = session.config.get_terminal_writer().line
    write()
    if cells:
        tried = {name for name, _ in cells}
        write(f"{'':{WIDTH}}" + "".join(f"{each.number:>3}" for each in PROPERTIES))
        for name in filter(tried.__contains__, NAMES):
            write(f"{name:{WIDTH}}" + "".join(format_cell(cells.get((name, each.number), {})) for each in PROPERTIES))
        write(f"{'':{WIDTH}}  float32 and float64: + holds, X fails, . does not apply")
    for each in PROPERTIES if cells else ():
        held = [held for (_, number), of in cells.items() if number == each.number for held in of.values()]
        write(f"{each.number:3} {each.name:12} {sum(held):3} of {len(held):3}  {each.claim}")
    write()
    for what, dtype, allowed, measured, held in sorted(tails):
        write(f"{what:25} {dtype}  {measured:5.2f} ulps, at most {allowed}{'' if held else ', FAILS'}")
    every = [held for of in cells.values() for held in of.values()] + [held for *_, held in tails]
    write(f"conformance: {sum(every)} of {len(every)}")


def format_cell(of):
    """Return the result of one example and property in both precisions, in three characters."""
    words = {True: "+", False: "X", None: "."}
    return " " + "".join(words[of.get(dtype)] for dtype in ("float32", "float64"))
