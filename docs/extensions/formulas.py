"""Docstrings as pages: their formulas become mathematics, and the rest of their text is free of markup.

A docstring states a map in lines that begin with `forward`, `inverse` or `log det`; two spaces come before another
`log det` in the same line. Everywhere else a star or a bar is a star or a bar.
"""

from __future__ import annotations

import re
from typing import Any

LINE = re.compile(r"^(\s*)(forward|inverse|log det) {2,}(\S.*)$")
WORDS = re.compile(r"\b(the|of|that|over|numerical|minus|has)\b")
GREEK = ["alpha", "beta", "gamma", "delta", "theta", "lambda", "mu", "sigma", "phi", "pi", "rho", "tau"]
KNOWN = {"log", "exp", "tanh", "sinh", "cosh", "det", "max", "min", "cos", "sin"}
NAMES = {"sum": r"\sum", "eps": r"\epsilon", "Phi": r"\Phi", **{name: rf"\{name}" for name in GREEK}}
TOKEN = re.compile(r"sqrt\(|[A-Za-z]{2,}(?:_[a-z]{2,})+|[A-Za-z]+|\d+(?:\.\d+)?|_<i|_\(|[\^_]|<=|>=|\|\||\s+|.")


def to_latex(text: str) -> str:
    """A formula as docstrings write it, in LaTeX.

    Example:
        >>> to_latex("y = x1 / sqrt(1 + a^2)")
        'y = x_{1} / \\\\sqrt{1 + a^{2}}'
    """
    tokens = TOKEN.findall(text)
    written: list[str] = []
    closing: list[str] = []  # what ends each open parenthesis
    place = 0
    while place < len(tokens):
        token = tokens[place]
        place += 1
        if token in ("sqrt(", "_(", "("):
            written.append({"sqrt(": r"\sqrt{", "_(": "_{", "(": "("}[token])
            closing.append(")" if token == "(" else "}")
        elif token == ")" and closing:
            written.append(closing.pop())
        elif token == "^":
            power = re.match(r"-?(?:[A-Z]\b|[a-z]\b|\d+)", "".join(tokens[place:]))
            if power:
                written.append(f"^{{{power[0]}}}")
                place += len(TOKEN.findall(power[0]))
            else:  # a hat behind a letter
                written[-1] = rf"\hat{{{written[-1]}}}"
        elif token == "_":
            written.append(f"_{{{tokens[place]}}}")
            place += 1
        elif token.isdigit() and written and re.fullmatch(r"[a-z]|\\[a-z]+", written[-1]):
            written.append(f"_{{{token}}}")
        else:
            written.append(_word(token))
    return "".join(written)


def _word(token: str) -> str:
    """A name, an operator or a mark in LaTeX."""
    if token in NAMES:
        return NAMES[token] + " "
    if token in KNOWN:
        return rf"\{token} "
    if token == "_<i":
        return "_{<i}"
    if len(token) > 1 and token[0].isalpha():
        name = token.replace("_", r"\_")
        return rf"\;\text{{{name}}}\;" if token in ("or", "all", "where") else rf"\operatorname{{{name}}}"
    marks = {"<=": r"\le ", ">=": r"\ge ", "||": r"\Vert ", "*": r"\cdot ", ".": r"\cdot "}
    if token.isspace():
        return r"\quad " if len(token) > 1 else " "
    return marks.get(token, token)


def escape(text: str) -> str:
    """A text of a docstring as reStructuredText: no character is markup, but `code` between backticks is code."""
    parts = re.split(r"(`+)(.+?)\1", text, flags=re.DOTALL)
    written = []
    for place in range(0, len(parts), 3):
        plain = re.sub(r"([\\*|])", r"\\\1", parts[place])
        plain = re.sub(r"(?<=\w)_(?!\w)", r"\\_", plain)
        # Code needs a space or an invisible mark on either side.
        after_code, before_code = bool(written), place + 2 < len(parts)
        written.append(("\\ " if after_code and re.match(r"\S", plain) else "") + plain)
        if before_code:
            written.append(("\\ " if re.search(r"\S$", plain) else "") + f"``{parts[place + 2]}``")
    return "".join(written)


def rewrite(lines: list[str]) -> list[str]:
    """The lines of a docstring, with tables of formulas and escaped text; examples stay as they are."""
    written: list[str] = []
    rows: list[tuple[str, str]] = []
    text: list[str] = []
    example = False

    def flush() -> None:
        written.extend(escape("\n".join(text)).split("\n") if text else [])
        text.clear()
        if rows:
            written.extend(["", ".. list-table::", "   :class: formulas", ""])
            for name, formula in rows:
                written.extend([f"   * - {name}", f"     - {formula}"])
            written.append("")
            rows.clear()

    for line in lines:
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        found = LINE.match(line)
        if example or line.lstrip().startswith("| "):
            flush()
            written.append(line)
        elif found:
            if text:
                flush()
            first, _, second = re.sub(r" {2,}log det  +", "\0", found[3]).partition("\0")
            rows.append((found[2], _formula(first)))
            rows.extend([("log det", _formula(second))] if second else [])
        else:
            if rows:
                flush()
            text.append(line)
    flush()
    return written


def _formula(text: str) -> str:
    return escape(text) if WORDS.search(text) else f":math:`{to_latex(text.strip())}`"


def _process(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    lines[:] = rewrite(lines)


def setup(app: Any) -> dict[str, bool]:
    """Rewrite docstrings before napoleon reads their sections."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
