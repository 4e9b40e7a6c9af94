"""Mathematics as MathML, which browsers draw themselves: no script, no network, when built or when read.

The converter from LaTeX is that of docutils. A command that it does not know is a warning with its place.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
# Commands that the converter does not know, and the nearest that it does.
FUNCTION = re.compile(r"(<mi>(?:[a-z]{2,}|[A-Z][A-Za-z]+)</mi>)(?!<mo[^>]*>[(\[,)=]|</m[a-z]+>|$)")  # log x, not log(x)
THIN_SPACE = '<mspace width="0.17em"></mspace>'
REPLACED = {r"\\dots\b": r"\\ldots", r"\\big\b": ""}


def to_mathml(tex: str, block: bool) -> str:
    """A formula as MathML; raise ValueError if it holds an unknown command.

    Example:
        >>> to_mathml("a < b", block=False)
        '<math xmlns="http://www.w3.org/1998/Math/MathML"><mi>a</mi><mo>&lt;</mo><mi>b</mi></math>'
    """
    for command, known in REPLACED.items():
        tex = re.sub(command, known, tex)
    try:
        text = tex2mathml(tex, as_block=block)
    except Exception as error:  # the converter raises MathError, and others for what it does not expect
        raise ValueError(f"{tex}: {error}") from error
    text = "".join(line.strip() for line in text.splitlines())
    return FUNCTION.sub(r"\1" + THIN_SPACE, text)


def _visit(block: bool) -> Any:
    def visit(writer: Any, node: nodes.Element) -> None:
        try:
            text = to_mathml(node.astext(), block)
        except ValueError as error:
            LOGGER.warning("mathematics: %s", error, location=node)
            text = f"<code>{writer.encode(node.astext())}</code>"
        writer.body.append(f'<div class="math">{text}</div>' if block else text)
        raise nodes.SkipNode

    return visit


def setup(app: Any) -> dict[str, bool]:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (_visit(False), None), (_visit(True), None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
