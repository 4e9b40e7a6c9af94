"""Generated pages: files that are written when the site is built, and only where their text has changed.

Sphinx reads a page again when its file is newer, so an unchanged page keeps its time and costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

LINK = re.compile(r"\]\((?!docs/|https?:|#|mailto:)([^)\s]+)\)")  # to a file of the repository outside of docs/


def write_pages(folder: Path, pages: Mapping[str, str | bytes]) -> None:
    """Write pages into a folder that holds generated pages alone; remove the pages that no longer exist.

    Arguments:
        folder: the folder; it is made if it does not exist.
        pages: the text of each page by the name of its file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        content = text if isinstance(text, bytes) else text.encode()
        path = folder / name
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)
    for path in folder.iterdir():
        if path.is_file() and path.name not in pages:
            path.unlink()


def repository_page(path: Path, address: str) -> str:
    """A Markdown file of the repository without its title, as a part of a page: its links hold on the site.

    Arguments:
        path: the file, in the repository's root.
        address: where the repository's files are, to which links outside of `docs/` lead.
    """
    text = path.read_text(encoding="utf-8").partition("\n")[2].lstrip()
    text = LINK.sub(rf"]({address}/\1)", text)
    return text.replace("](docs/", "](/")


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table of Markdown; bars in its cells are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in lines) + "\n"


def prose(text: str) -> str:
    """A text of a docstring as Markdown: characters with a meaning in Markdown are escaped, outside of `code`.

    Example:
        >>> prose("x_1 is in [0, 1] `or *`")
        'x\\\\_1 is in \\\\[0, 1\\\\] `or *`'
    """
    parts = text.split("`")
    escaped = ["".join(f"\\{c}" if c in r"\*_[]<>$#{}" else c for c in part) for part in parts[::2]]
    code = [f"`{part}`" for part in parts[1::2]]
    return "".join(a + b for a, b in zip(escaped, [*code, ""], strict=False))
