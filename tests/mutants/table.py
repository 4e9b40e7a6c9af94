"""The modules to mutate, and the rule that finds their tests."""

import re
from pathlib import Path

SEED = 0

# Mutants per module, by folder. Other folders and modules without tests are left out.
SAMPLED = {
    "flowlab": 2,
    "flowlab/bijectors": 2,
    "flowlab/bijectors/linear": 2,
    "flowlab/networks": 2,
    "flowlab/distributions": 2,
    "flowlab/flows": 2,
    "flowlab/targets": 2,
    "flowlab/objectives": 2,
    "flowlab/training": 1,
    "flowlab/runs": 1,
    "flowlab/sweeps": 1,
    "flowlab/config": 1,
}
QUICK = {"bijectors", "linear", "distributions", "flows", "targets", "runs", "config"}  # folders with quick tests
LEFT_OUT = {"__init__", "examples"}
CONFORMANCE = "tests/conformance/test_properties.py"


def modules_to_mutate(root: Path) -> dict[str, int]:
    """Return the modules of a repository that have tests, each with its number of mutants."""
    files = {
        path.relative_to(root).as_posix(): n for folder, n in SAMPLED.items() for path in root.glob(f"{folder}/*.py")
    }
    return {file: files[file] for file in sorted(files) if Path(file).stem not in LEFT_OUT and select_tests(root, file)}


def select_tests(root: Path, file: str) -> tuple[str, ...]:
    """Return pytest's arguments for the tests of `flowlab/<folder>/<module>.py`.

    They are `tests/<folder>/test_<module>.py` and the doctests of the module; for bijectors also the conformance
    properties, in double precision, of the examples that are named after its classes; and all of a quick
    `tests/<folder>` if there are no others.
    """
    path, source = Path(file), (root / file).read_text(encoding="utf-8")
    folder = Path("tests", *path.parts[1:-1])
    own = folder / f"test_{path.stem}.py"
    arguments = [own.as_posix()] if (root / own).is_file() else []
    if path.parts[1] == "bijectors":
        examples = (root / "flowlab/bijectors/examples.py").read_text(encoding="utf-8")
        classes = [name for name in re.findall(r"^class (\w+)\(", source, re.MULTILINE) if f'"{name}' in examples]
        keyword = f"not test_property or float64 and ({' or '.join(classes)})"
        arguments += [CONFORMANCE, "-k", keyword] if classes else []
    if not arguments and folder.name in QUICK:
        arguments = [folder.as_posix()]
    return (*arguments, file) if arguments and ">>> " in source else tuple(arguments)
