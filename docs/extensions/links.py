"""Checks the links of the built site: `python docs/extensions/links.py docs/_build/html`; no network is needed.

Every address within the site must lead to a file, and every #place to an element of that page.
"""

from __future__ import annotations

import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LINKS = {"a": "href", "img": "src", "script": "src", "link": "href"}


class Page(HTMLParser):
    """The links and the places of a page.

    Attributes:
        links: the addresses that it names.
        places: the ids of its elements.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.places |= {given["id"]} if given.get("id") else set()  # type: ignore[arg-type]
        address = given.get(LINKS.get(tag, ""))
        self.links += [address] if address else []


@cache
def read_page(path: Path) -> Page:
    """Read a page once."""
    return Page(path.read_text(encoding="utf-8"))


def dead_links(site: Path) -> list[str]:
    """The links within a site that lead nowhere, as "page: address"."""
    dead = []
    for path in sorted(site.rglob("*.html")):
        for address in read_page(path).links:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            goal = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            goal = goal / "index.html" if goal.is_dir() else goal
            is_place = not parts.fragment or goal.suffix != ".html"
            if not goal.is_file() or not (is_place or unquote(parts.fragment) in read_page(goal).places):
                dead.append(f"{path.relative_to(site)}: {address}")
    return dead


def main(site: Path) -> int:
    """Print the dead links and how many links there are; the exit status is 1 if a link is dead."""
    dead = dead_links(site)
    for line in dead:
        print(f"docs: dead link: {line}", file=sys.stderr)
    pages = sorted(site.rglob("*.html"))
    print(f"docs: {len(pages)} pages, {sum(len(read_page(path).links) for path in pages)} links, {len(dead)} dead")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
