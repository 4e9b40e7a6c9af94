"""How readable the repository's prose is: `python experiments/readability.py`; `--check` only lists what to change.

The prose is Markdown, the text of notebooks, and the docstrings, comments and messages of the package. The script
prints the lengths of sentences, in words, and every phrase that the house rule for plain English replaces
(experiments/prose/rules.toml). Exit status: 0, or 1 with `--check` if there is a phrase to replace or the median
sentence of a source exceeds 18 words.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from prose.passages import Passage, read_comments, read_docstrings, read_markdown, read_messages, read_notebook
from prose.sentences import Hit, find_hits, find_sentences
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
MEDIAN = 18  # words, at most
Reader = Callable[[str, Path, Path], Iterator[Passage]]
SOURCES: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "README": (read_markdown, ("README.md",)),
    "pages": (read_markdown, ("*.md", ".github/*.md")),
    "docs": (read_markdown, ("docs/*.md", "docs/*/*.md")),  # deeper pages are generated
    "notebooks": (read_notebook, ("notebooks/*.ipynb",)),
    "docstrings": (read_docstrings, ("flowlab/**/*.py",)),
    "comments": (read_comments, ("flowlab/**/*.py",)),
    "messages": (read_messages, ("flowlab/**/*.py",)),
}


@dataclass(frozen=True)
class Source:
    """A kind of text: its sentences, longest first, and its hits."""

    name: str
    sentences: list[tuple[int, str, Passage]]
    hits: list[Hit]

    @property
    def median(self) -> float:
        """The median length of a sentence in words; 0 without sentences."""
        return statistics.median(words for words, *_ in self.sentences) if self.sentences else 0.0

    @property
    def long(self) -> int:
        """The length in words that a tenth of the sentences exceeds."""
        return self.sentences[len(self.sentences) // 10][0] if self.sentences else 0


def read(root: Path = ROOT) -> list[Source]:
    """Return every source of prose of a repository; a file belongs to the first source that names it."""
    taken: set[tuple[Reader, Path]] = set()
    sources = []
    for name, (reader, patterns) in SOURCES.items():
        paths = sorted({path for pattern in patterns for path in root.glob(pattern) if (reader, path) not in taken})
        paths = [path for path in paths if not any(part.startswith("_") for part in path.relative_to(root).parts[:-1])]
        taken |= {(reader, path) for path in paths}
        passages = [passage for path in paths for passage in reader(name, path, root)]
        sentences = sorted(find_sentences(passages), key=lambda each: -each[0])
        sources.append(Source(name, sentences, find_hits(passages)))
    return sources


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run a command line, given without the program's name, and return the exit status."""
    parser = argparse.ArgumentParser("readability.py", description="Measure the repository's prose.")
    parser.add_argument(
        "--check", action="store_true", help="list what to change; the exit status is 1 if there is any"
    )
    parser.add_argument("--longest", metavar="N", type=int, default=5, help="the longest sentences of each source")
    options = parser.parse_args(arguments)
    sources = read(root)
    if not options.check:
        _print_table(sources, options.longest)
    for source in sources:
        for hit in source.hits:
            print(hit)
        if source.median > MEDIAN:
            print(
                f"{source.name}: the median sentence has {source.median:g} words; at most {MEDIAN}; split the longest"
            )
    failed = any(source.hits or source.median > MEDIAN for source in sources)
    return int(failed and options.check)


def _print_table(sources: Sequence[Source], longest: int) -> None:
    table = Table(box=SIMPLE_HEAD)
    for name in ("source", "sentences", "median words", "90th percentile", "longest", "over 25 words", "hits"):
        table.add_column(name, justify="left" if name == "source" else "right")
    for source in sources:
        lengths = [words for words, *_ in source.sentences]
        over = sum(words > 25 for words in lengths)
        cells = (len(lengths), f"{source.median:g}", source.long, max(lengths, default=0), over, len(source.hits))
        table.add_row(source.name, *map(str, cells))
    Console(markup=False, emoji=False, highlight=False).print(table)
    for source in sources:
        for words, sentence, passage in source.sentences[:longest]:
            print(f"{words} words, {passage.place}: {sentence}")


if __name__ == "__main__":
    sys.exit(main())
