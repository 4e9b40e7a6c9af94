"""The pages of the API: one for each module with public names, with a table and the docstrings of the names."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import flowlab

PACKAGE = Path(flowlab.__file__).parent


def public_modules() -> list[str]:
    """The modules that list their public names in `__all__`, flowlab last: its names are at home in the others."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("flowlab", *path.relative_to(PACKAGE).with_suffix("").parts)
        name = ".".join(parts).removesuffix(".__init__")
        if name != "flowlab" and not any(part.startswith("_") for part in parts[:-1]) and _lists_names(path):
            found.append(name)
    return [*found, "flowlab"]


def _lists_names(path: Path) -> bool:
    """Whether a module assigns `__all__`; it is read, not imported."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    assigned = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in assigned)


def api_pages() -> dict[str, str]:
    """The text of each page by the name of its file, and of `index.rst`, which lists the pages."""
    shown: dict[int, str] = {}
    pages = {}
    modules = public_modules()
    for name in modules:
        pages[f"{name}.rst"] = _page(name, shown)
    rows = "".join(f"   {name}\n" for name in ["flowlab", *modules[:-1]])
    lines = [f":doc:`{name}`\n   {_first_line(import_module(name))}\n" for name in ["flowlab", *modules[:-1]]]
    pages["index.rst"] = f"{_title('API')}\n" + "\n".join(lines) + f"\n.. toctree::\n   :hidden:\n\n{rows}"
    return pages


def _title(text: str, mark: str = "=") -> str:
    return f"{text}\n{mark * len(text)}\n"


def _first_line(module: ModuleType) -> str:
    return inspect.cleandoc(module.__doc__ or "").split("\n\n")[0].replace("\n", " ").replace("`", "``")


def _page(name: str, shown: dict[int, str]) -> str:
    """The page of a module. A name that another page documents is only in the table, with a link to it."""
    module = import_module(name)
    text = f"{_title(name)}\n.. automodule:: {name}\n   :no-members:\n\n"
    rows, details = [], []
    for public in module.__all__:
        thing = getattr(module, public)
        full = f"{name}.{public}"
        if inspect.ismodule(thing):
            rows.append(f"   * - :doc:`{thing.__name__}`\n     - {_escaped(_first_line(thing))}\n")
            continue
        home = shown.setdefault(id(thing), full) if _has_docstring(thing) else ""
        if home == full:
            details.append(_directive(name, public, thing))
        said = _summary(thing)
        rows.append(f"   * - {f':py:obj:`{public} <{home}>`' if home else f'``{public}``'}\n     - {said}\n")
    text += ".. list-table::\n   :widths: 30 70\n   :class: names\n\n" + "".join(rows) + "\n"
    return text + f".. currentmodule:: {name}\n\n" + "\n".join(details)


def _has_docstring(thing: Any) -> bool:
    return inspect.isclass(thing) or inspect.isroutine(thing)


def _summary(thing: Any) -> str:
    if not _has_docstring(thing):
        return f"``{type(thing).__name__}``"
    text = inspect.cleandoc(thing.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    return _escaped(text) or "\\ "


def _escaped(text: str) -> str:
    from formulas import escape

    return escape(text)


def _directive(module: str, name: str, thing: Any) -> str:
    if inspect.isclass(thing):
        return f"{_title(name, '-')}\n.. autoclass:: {module}.{name}\n   :members:\n   :show-inheritance:\n"
    return f"{_title(name, '-')}\n.. autofunction:: {module}.{name}\n"
