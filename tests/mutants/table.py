"""The table of modules that are mutated, and the rule that finds their tests."""

import re
from pathlib import Path

SEED = 0

# Mutants a module; the first pattern that fits counts, and a module that fits none is left out,
# as are `__init__.py` and loose modules without tests of their own.
SAMPLED = {
    "flowlab/bijectors/examples.py": 0,
    "flowlab/bijectors/**/*.py": 4,
    "flowlab/maps/*.py": 4,
    "flowlab/networks/*.py": 3,
    "flowlab/distributions/*.py": 4,
    "flowlab/flows/*.py": 3,
    "flowlab/targets/*.py": 3,
    "flowlab/objectives/*.py": 3,
    "flowlab/training/*.py": 2,
    "flowlab/runs/*.py": 2,
    "flowlab/sweeps/*.py": 2,
    "flowlab/config/*.py": 2,
    "flowlab/*.py": 4,
}
CONFORMANCE = "tests/conformance/test_properties.py"


def modules_to_mutate(root: Path) -> dict[str, int]:
    """Return the modules of a repository that have tests, each with its number of mutants."""
    chosen: dict[str, int] = {}
    for pattern, count in SAMPLED.items():
        for path in sorted(root.glob(pattern)):
            chosen.setdefault(path.relative_to(root).as_posix(), 0 if path.stem == "__init__" else count)
    return {file: count for file, count in chosen.items() if count and select_tests(root, file)}


def select_tests(root: Path, file: str) -> tuple[str, ...]:
    """Return pytest's arguments for the tests of `flowlab/<folder>/<module>.py`.

    They are `tests/<folder>/test_<module>.py`, or all of `tests/<folder>` if there is no such file; the doctests of the
    module; and for bijectors the conformance properties of the examples that are named after its classes.
    """
    path, source = Path(file), (root / file).read_text(encoding="utf-8")
    folder = Path("tests", *path.parts[1:-1])
    own = folder / f"test_{path.stem}.py"
    if not (root / own).is_file():
        if len(path.parts) < 3:
            return ()
        own = folder
    arguments = [own.as_posix()] if (root / own).exists() else []
    arguments += [file] if ">>> " in source else []
    classes = re.findall(r"^class ([A-Z]\w*)\(", source, re.MULTILINE)
    if path.parts[1] == "bijectors" and classes:
        arguments += [CONFORMANCE, "-k", " or ".join(["not test_property", *classes])]
    return tuple(arguments)
