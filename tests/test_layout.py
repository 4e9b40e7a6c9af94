"""The layout of the package: few top-level modules, small folders and files, no import cycle, layered imports."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "flowlab"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
# From the bottom layer to the top. A folder may import the folders in its own line and in the lines above it.
LAYERS = (
    ("config", "system"),
    ("datasets", "baselines"),
    ("seeding", "torch_distributions", "autocast"),
    ("networks",),
    ("bijectors",),
    ("distributions", "flow"),
    ("targets", "tables"),
    ("flows", "objectives", "optimizers"),
    ("plotting",),
    ("distributed",),
    ("metrics", "loggers", "runs"),
    ("diagnostics",),
    ("training",),
    ("sweeps", "claims", "testing", "sklearn", "report", "density", "vae"),
    ("cli",),
)


def test_few_modules_are_at_the_top_level():
    loose = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}
    assert len(loose) <= 4, loose


def test_folders_are_small():
    folders = {path.parent for path in MODULES.values()}
    assert not {folder.name: count for folder in folders if (count := len(list(folder.glob("*.py")))) > 15}


def test_files_are_small():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES.values()}
    assert not {path.name: count for path, count in lines.items() if count > 300}


def imports(module, everywhere):
    """Return the flowlab modules that a module imports outside type checking; with `everywhere`, also in functions."""
    found = set()
    waiting = list(ast.parse(MODULES[module].read_text(encoding="utf-8")).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in MODULES}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (names & set(MODULES)) or ({node.module} & set(MODULES))
        elif everywhere or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return found - {module}


def find_cycle(graph):
    """Return the modules of a cycle in a graph, or an empty list."""
    done, path = set(), []

    def visit(module):
        if module in path:
            return path[path.index(module) :]
        if module in done:
            return []
        path.append(module)
        for other in sorted(graph[module]):
            if found := visit(other):
                return found
        done.add(path.pop())
        return []

    return next((found for module in sorted(graph) if (found := visit(module))), [])


def test_imports_have_no_cycle():
    assert find_cycle({module: imports(module, everywhere=True) for module in MODULES}) == []


def test_find_cycle_finds_a_cycle():
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c"]


@pytest.mark.parametrize("module", [name for name in MODULES if "." in name])
def test_imports_do_not_reach_higher_layers(module):
    level = {name: number for number, names in enumerate(LAYERS) for name in names}
    own = module.split(".")[1]
    others = {other.split(".")[1] for other in imports(module, everywhere=False) if "." in other}
    assert not {other for other in others if level[other] > level[own]}


def test_only_the_lightning_module_imports_lightning():
    using = {name for name, path in MODULES.items() if "import pytorch_lightning" in path.read_text(encoding="utf-8")}
    assert using == {"flowlab.training.lightning"}
