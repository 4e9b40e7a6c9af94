"""Passages of prose: from Markdown, notebooks, docstrings, comments and error messages, with where each is."""

from __future__ import annotations

import ast
import inspect
import io
import json
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

MARKDOWN = MarkdownIt("commonmark").enable("table")
MATHS = re.compile(r"\$\$.*?\$\$|(?<![\\$])\$[^$\n]+\$|```\{math\}.*?```", re.DOTALL)
DIRECTIVE = re.compile(r"^:::.*$|^\(\S+\)=$|^:[\w-]+:.*$|^---\n.*?\n---$", re.MULTILINE | re.DOTALL)  # of MyST
ITEM = re.compile(r"^\s*[*\w.,\[\] ]{1,60}: (?=\S)")  # `name: ` in a section of a docstring
PRINTS = re.compile(r"print|warn|say|error")  # functions that show a text to the user
NOT_PROSE = re.compile(r"^\s*(\||>>>|\.\.\. )")  # a reference, an example
FORMULA = re.compile(r"\S {2,}\S|^\s+\S+ = |[\\^]|\w\(\w*\) = ")  # aligned columns, an equation of its own


@dataclass(frozen=True)
class Passage:
    """Prose without markup.

    Attributes:
        source: the kind of text, such as "docstrings".
        place: the file and the line, such as "README.md:12"; of a notebook the cell, such as "a.ipynb cell 3".
        text: the prose; code is `code` and a formula is `formula`.
        whole: the passage is a paragraph of whole sentences, so their lengths count.
        opens: the passage opens a docstring.
    """

    source: str
    place: str
    text: str
    whole: bool = True
    opens: bool = False


def read_markdown(source: str, path: Path, root: Path) -> Iterator[Passage]:
    """Yield the paragraphs, headings and cells of a Markdown file."""
    for line, text, whole in _blocks(path.read_text(encoding="utf-8")):
        yield Passage(source, f"{path.relative_to(root)}:{line}", text, whole)


def read_notebook(source: str, path: Path, root: Path) -> Iterator[Passage]:
    """Yield the passages of a notebook's Markdown cells."""
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] == "markdown":
            for _, text, whole in _blocks("".join(cell["source"])):
                yield Passage(source, f"{path.relative_to(root)} cell {number}", text, whole)


def read_docstrings(source: str, path: Path, root: Path) -> Iterator[Passage]:
    """Yield the paragraphs of a module's docstrings, and each item of a section such as `Raises:`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            if docstring is not None:
                place = f"{path.relative_to(root)}:{getattr(node, 'lineno', 1)}"
                for number, text in enumerate(_docstring_paragraphs(docstring)):
                    yield Passage(source, place, text, opens=number == 0)


def read_messages(source: str, path: Path, root: Path) -> Iterator[Passage]:
    """Yield the texts of errors, warnings and printed lines; a value in a text is `value`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        call = node.exc if isinstance(node, ast.Raise) else node.value if isinstance(node, ast.Expr) else None
        if isinstance(call, ast.Call) and (isinstance(node, ast.Raise) or PRINTS.search(ast.unparse(call.func))):
            for text in map(_literal, call.args):
                if text and " " in text:
                    yield Passage(source, f"{path.relative_to(root)}:{call.lineno}", text, whole=False)


def read_comments(source: str, path: Path, root: Path) -> Iterator[Passage]:
    """Yield the comments of a module; comments on consecutive lines are one passage."""
    previous, start, words = -1, 0, []  # type: int, int, list[str]
    text = path.read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            if token.start[0] != previous + 1 and words:
                yield Passage(source, f"{path.relative_to(root)}:{start}", " ".join(words), whole=False)
                words = []
            start = start if words else token.start[0]
            words.append(_plain(token.string.lstrip("#! ")))
            previous = token.start[0]
    if words:
        yield Passage(source, f"{path.relative_to(root)}:{start}", " ".join(words), whole=False)


def _blocks(text: str) -> Iterator[tuple[int, str, bool]]:
    """Yield the line, the text and whether it is a paragraph, for each block of Markdown."""
    text = MATHS.sub(lambda found: "formula" + "\n" * found[0].count("\n"), DIRECTIVE.sub("", text))
    tokens = MARKDOWN.parse(text)
    for before, token in pairwise(tokens):
        if token.type == "inline" and token.children:
            line = (token.map or [0])[0] + 1
            yield line, " ".join(_inline(token.children).split()), before.type == "paragraph_open"


def _inline(tokens: list[Token]) -> str:
    shown = {"code_inline": "code", "softbreak": " ", "hardbreak": " "}
    return "".join(token.content if token.type == "text" else shown.get(token.type, "") for token in tokens)


def _plain(text: str) -> str:
    """Return text in which code and formulas are one word each."""
    text = re.sub(r"`[^`\n]*`", "code", MATHS.sub("formula", text))
    return " ".join(text.split())


def _docstring_paragraphs(docstring: str) -> Iterator[str]:
    section = False
    for block in re.split(r"\n\s*\n", inspect.cleandoc(docstring)):
        if any(line.lstrip().startswith(">>>") for line in block.splitlines()):
            block = block.split(">>>")[0]
        items: list[list[str]] = [[]]
        lines = block.splitlines()
        for line, after in zip(lines, [*lines[1:], ""], strict=True):
            if line == line.lstrip() and line.endswith(":") and after.startswith(" "):
                section = True  # such as `Arguments:`
                continue
            section = section and line.startswith(" ")
            indent = len(line) - len(line.lstrip())
            if NOT_PROSE.match(line) or FORMULA.search(line):
                items.append([])
            elif section and indent <= 4 and ITEM.match(line):
                items.append([ITEM.sub("", line)])
            elif re.match(r"\s*[-*] ", line):
                items.append([line.strip()[2:]])
            else:
                items[-1].append(line)
        yield from filter(None, (_plain(" ".join(lines)) for lines in items))


def _literal(node: ast.expr) -> str:
    """Return the text of a string or an f-string; empty for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _plain(node.value)
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else "value" for part in node.values]
        return _plain("".join(map(str, parts)))
    return ""
