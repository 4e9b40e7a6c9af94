"""The sections of a docstring: its summary, the meaning of each argument, its references."""

from __future__ import annotations

import inspect
import re
from typing import Any

SECTION = re.compile(r"^([A-Z][A-Za-z ]+):$", re.MULTILINE)
ENTRY = re.compile(r"^ {4}([a-z_][\w, ]*): (.*(?:\n {5,}.*)*)", re.MULTILINE)


def sections(component: Any) -> dict[str, str]:
    """The parts of a docstring by their titles; the text before the first title is under "".

    A dataclass without a docstring of its own has none, although Python makes one of its signature.
    """
    text = inspect.cleandoc(vars(component).get("__doc__") or "") if hasattr(component, "__dict__") else ""
    if isinstance(component, type) and text.startswith(f"{component.__name__}("):
        text = ""
    parts = SECTION.split(text)
    return {"": parts[0].strip()} | dict(zip(parts[1::2], parts[2::2], strict=True))


def summary(component: Any) -> str:
    """The first paragraph of a docstring, as one line."""
    return " ".join(sections(component)[""].split("\n\n")[0].split())


def references(component: Any) -> list[tuple[str, str]]:
    """The references of a docstring: title, authors and year, and the address."""
    text = sections(component).get("Reference", "")
    lines = [line.strip().removeprefix("|").strip() for line in text.splitlines() if line.strip().startswith("|")]
    found: list[tuple[str, str]] = []
    title: list[str] = []
    for line in lines:
        if line.startswith("https://"):
            found.append((" ".join(title), line))
            title = []
        else:
            title.append(line)
    return found


def meanings(component: type) -> dict[str, str]:
    """The meaning of each argument of a class: from its docstring, or from the nearest parent that says more.

    An entry such as "depth: see ConditionedFlow" defers to the parent.
    """
    found: dict[str, str] = {}
    for cls in component.__mro__:
        parts = sections(cls)
        for names, text in ENTRY.findall(parts.get("Arguments", "") + "\n" + parts.get("Attributes", "")):
            if text.startswith("see "):
                continue
            several = re.split(r", ?", names.strip())
            for name in several:  # where two share a text, it says which is which
                found.setdefault(name, (f"{names}: " if len(several) > 1 else "") + " ".join(text.split()))
    return found
