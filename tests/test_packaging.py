"""The package's metadata agree with each other, and the extras install what the notebooks import."""

import ast
import json
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import yaml

import flowlab

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_versions_and_licence_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {citation["version"], PROJECT["version"], flowlab.__version__} == {flowlab.__version__}
    assert citation["license"] == PROJECT["license"] == "MIT"
    assert citation["cff-version"] == "1.2.0"
    assert {"title", "message", "authors"} <= set(citation)


def test_every_supported_python_has_a_classifier_and_is_in_the_readme():
    named = re.findall(r"Programming Language :: Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert named == ["3.11", "3.12", "3.13"]
    assert PROJECT["requires-python"] == f">={named[0]}"
    assert "Python 3.11, 3.12 or 3.13" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"python:{named[-1]}-slim" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_annotations_are_declared():
    assert (ROOT / "flowlab" / "py.typed").read_bytes() == b""
    assert "Typing :: Typed" in PROJECT["classifiers"]


def imports(source):
    """Return the top-level modules that a source imports; lines of IPython are left out."""
    plain = "\n".join(line for line in source.splitlines() if not line.lstrip().startswith(("%", "!")))
    for node in ast.walk(ast.parse(plain)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def requirements(names):
    """Return the distributions of extras, and of the extras that they name."""
    found = set()
    for entry in [each for name in names for each in PROJECT["optional-dependencies"][name]]:
        inner = re.match(r"flowlab-nf\[(.*)\]", entry)
        found |= requirements(inner[1].split(",")) if inner else {re.match(r"[\w.-]+", entry)[0].lower()}
    return found


def test_the_extra_for_notebooks_installs_what_they_import():
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "notebooks" / "lesson_figures").rglob("*.py")]
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        sources += ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    imported = {name for source in sources for name in imports(source)} - set(sys.stdlib_module_names)
    imported -= {"flowlab", "lesson_figures"}
    distributions = packages_distributions()
    installed = {re.match(r"[\w.-]+", entry)[0].lower() for entry in PROJECT["dependencies"]} | requirements(
        ["notebooks"]
    )
    installed |= {"ipython", "pillow"}  # jupyterlab and matplotlib need them
    missing = {name for name in imported if not {each.lower() for each in distributions[name]} & installed}
    assert not missing
    assert {"sklearn", "mpmath", "torch"} <= imported


def test_hooks_run_commands_of_the_repository():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"], "a hook of a different repository needs a network"
    entries = [hook["entry"].split() for repository in hooks for hook in repository["hooks"]]
    assert {entry[0] for entry in entries} == {"ruff", "mypy", "python"}
    assert all((ROOT / entry[1]).is_file() for entry in entries if entry[0] == "python")


def test_templates_of_issues_ask_for_what_is_needed():
    forms = [path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"]
    assert len(forms) == 3
    for path in forms:
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert {"name", "description", "labels", "body"} == set(form)
        assert any(field.get("validations", {}).get("required") for field in form["body"])
