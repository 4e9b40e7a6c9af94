"""Pieces of an HTML page. Plain text is always escaped; only pieces made here count as HTML."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from flowlab.config.untrusted import printable
from flowlab.plotting.report import render_svg

STYLE = Path(__file__).with_name("report.css")
# The page loads nothing and runs nothing, so the name of a column can do no harm.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
LARGE = 1e6  # larger numbers are written with a power of ten


class Html(str):
    """Text that is HTML already."""


def text(value: object) -> Html:
    """A value as HTML; plain text is escaped, and control characters are made visible.

    Example:
        >>> from flowlab.report.html import text
        >>> print(text("<script> & co"))
        &lt;script&gt; &amp; co
    """
    return value if isinstance(value, Html) else Html(html.escape(_visible(str(value))))


def join(*parts: object) -> Html:
    """Values as HTML, one after the other."""
    return Html("".join(text(part) for part in parts))


def element(tag: str, *parts: object, **attributes: str) -> Html:
    """An element; `class_` stands for class, and an underscore within a name for a hyphen.

    Example:
        >>> from flowlab.report.html import element
        >>> print(element("p", "a < b", class_="note"))
        <p class="note">a &lt; b</p>
    """
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(value)}"' for name, value in attributes.items()
    )
    return Html(f"<{tag}{given}>{join(*parts)}</{tag}>")


def paragraphs(*texts: object) -> Html:
    return join(*(element("p", each) for each in texts))


def section(identifier: str, title: str, *parts: object) -> Html:
    """A section with a heading, to which a link may lead."""
    heading = element("h2", title, id=identifier)
    return join(element("section", heading, *parts, aria_labelledby=identifier), "\n")


def document(title: str, verdict: str, facts: Mapping[str, object], sections: Mapping[str, tuple[str, Html]]) -> str:
    """A whole page.

    Arguments:
        title: the title, which is also the heading.
        verdict: one sentence that sums the page up.
        facts: short values by their names.
        sections: headings and contents by their identifiers, in order.
    """
    links = element("ul", *(element("li", element("a", name, href=f"#{key}")) for key, (name, _) in sections.items()))
    pairs = (element("div", element("dt", name), element("dd", said)) for name, said in facts.items())
    head = join(
        Html('<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'),
        element("title", title),
        Html(f"\n<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n"),
    )
    body = join(
        *(element("h1", title), element("p", verdict, class_="verdict"), element("dl", *pairs, class_="facts")),
        *(element("nav", links, aria_label="Sections"), "\n"),
        *(section(key, name, content) for key, (name, content) in sections.items()),
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n'
    )


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]], words: Sequence[int] = ()) -> Html:
    """A table whose first cell of each row is the row's header. It scrolls by itself where it is wider than the page.

    Arguments:
        caption: above the table.
        columns: the headers.
        rows: the cells of each row.
        words: the numbers of columns that hold words, which are aligned to the left.
    """

    def look(place: int) -> dict[str, str]:
        return {"class_": "words"} if place in words or place == 0 else {}

    head = element("tr", *(element("th", name, scope="col", **look(place)) for place, name in enumerate(columns)))
    body = []
    for first, *others in rows:
        cells = (element("td", value, **look(place)) for place, value in enumerate(others, start=1))
        body.append(join(element("tr", element("th", first, scope="row"), *cells), "\n"))
    above = element("caption", element("span", caption))
    whole = element("table", above, element("thead", head), "\n", element("tbody", *body))
    return join(element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption), "\n")


def figure(drawn: Figure, alternative: str, caption: str = "") -> Html:
    """A figure as a picture inside the page, with a text for readers who cannot see it."""
    svg = base64.b64encode(render_svg(drawn)).decode()
    picture = Html(f'<img src="data:image/svg+xml;base64,{svg}" alt="{html.escape(_visible(alternative))}">')
    below = element("figcaption", caption) if caption else ""
    return join(element("figure", picture, below), "\n")


def figures(drawn: Iterable[Html]) -> Html:
    """Figures side by side, as many in a row as fit."""
    return element("div", *drawn, class_="figures")


def number(value: float, digits: int = 4) -> str:
    """A number with some significant digits and a real minus sign.

    Example:
        >>> from flowlab.report.html import number
        >>> number(0.123456), number(1234567.0), number(float("inf"))
        ('0.1235', '1.235e+06', '∞')
    """
    return _signed(f"{value:.{digits}g}")


def numbers_like(values: Iterable[float], spread: float) -> list[str]:
    """Numbers with as many digits after the point as tell three digits of their spread.

    Example:
        >>> from flowlab.report.html import numbers_like
        >>> numbers_like([24.3, 170.0], spread=8.0), numbers_like([0.5, 0.25], spread=0.01)
        (['24.30', '170.00'], ['0.5000', '0.2500'])
    """
    digits = 2 - math.floor(math.log10(spread)) if spread > 0 else 3
    if not -4 <= digits <= 7:
        return [number(value) for value in values]
    return [_signed(f"{value:.{max(digits, 0)}f}") for value in values]


def nats(value: float, digits: int = 3) -> str:
    """A number of nats with digits after the point.

    Example:
        >>> from flowlab.report.html import nats
        >>> nats(1.23456), nats(-0.0001), nats(3e9)
        ('1.235', '0.000', '3e+09')
    """
    return number(value) if abs(value) >= LARGE else _signed(f"{value:.{digits}f}")


def percent(share: float, digits: int = 2) -> str:
    """A share in per cent.

    Example:
        >>> from flowlab.report.html import percent
        >>> percent(0.0012), percent(0.5, 1)
        ('0.12\xa0%', '50.0\xa0%')
    """
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def _signed(plain: str) -> str:
    """A number in text with a minus sign in place of a hyphen."""
    if plain.startswith("-") and not plain.strip("-0."):
        plain = plain[1:]  # a rounded number has no sign
    return plain.replace("inf", "∞").replace("-", "\N{MINUS SIGN}")


def _visible(said: str) -> str:
    """Text whose control characters are visible; the space that does not break a line is none of them."""
    return "\N{NO-BREAK SPACE}".join(printable(part) for part in said.split("\N{NO-BREAK SPACE}"))
