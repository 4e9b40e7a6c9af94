"""Sentences of a passage, their lengths in words, and the phrases that the house rule replaces."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from prose.passages import Passage

RULES = Path(__file__).with_name("rules.toml")
END = re.compile(
    r"(?<=[.!?])(?:[\"')\]*_]{0,2})\s+(?=[\"'(\[*_`]{0,2}[A-Z0-9]|(?:code|formula|flowlab|zuko|nflows|normflows|flowjax|distrax|torch)\b)"
)
# A capital alone is an initial; a small letter is a variable, which may end a sentence.
SHORT = re.compile(r"(\b(e\.g|i\.e|et al|vs|cf|eq|fig|pp?|sec|resp|dr|st)|(?-i:\b[A-Z])|\.\.)\.$", re.IGNORECASE)
WORD = re.compile(r"\S*[^\W_]\S*")


@dataclass(frozen=True)
class Rule:
    """A phrase to avoid.

    Attributes:
        pattern: a regular expression, without regard to case.
        instead: what to write.
        hit: a sentence with the phrase.
        fine: sentences without it.
        where: "opens": only in the first words of a docstring; "starts": only in the first words of a sentence.
    """

    pattern: str
    instead: str
    hit: str
    fine: str
    where: str = "anywhere"

    def find(self, passage: Passage) -> str | None:
        """Return the phrase as it is in a passage, or None."""
        if self.where == "opens":
            texts = split(passage.text)[:1] if passage.opens else []
        else:
            texts = split(passage.text) if self.where == "starts" else [passage.text]
        search = re.compile(self.pattern, re.IGNORECASE)
        found = (search.search(text) if self.where == "anywhere" else search.match(text) for text in texts)
        return next((match[0] for match in found if match), None)


@dataclass(frozen=True)
class Hit:
    """A phrase of a passage, with the rule that replaces it."""

    passage: Passage
    phrase: str
    rule: Rule

    def __str__(self) -> str:
        return f"{self.passage.place}: {self.phrase!r}; write: {self.rule.instead}"


@cache
def load_rules() -> tuple[Rule, ...]:
    """Return the rules of rules.toml."""
    return tuple(Rule(**entry) for entry in tomllib.loads(RULES.read_text(encoding="utf-8"))["rule"])


def split(text: str) -> list[str]:
    """Return the sentences of a text.

    Example:
        >>> split("Papamakarios et al. (2017) wrote it. The code is short, e.g. 40 lines.")
        ['Papamakarios et al. (2017) wrote it.', 'The code is short, e.g. 40 lines.']
        >>> split("J. Smith solves for y. The root is exact.")
        ['J. Smith solves for y.', 'The root is exact.']
    """
    sentences: list[str] = []
    for part in END.split(text):
        if sentences and SHORT.search(sentences[-1]):
            sentences[-1] += " " + part
        else:
            sentences.append(part)
    return [sentence.strip() for sentence in sentences if sentence.strip()]


def count_words(sentence: str) -> int:
    """Return the number of words; code and a formula are one word each."""
    return len(WORD.findall(sentence))


def find_sentences(passages: Sequence[Passage]) -> Iterator[tuple[int, str, Passage]]:
    """Yield the number of words, the sentence and the passage of each whole sentence of at least three words."""
    for passage in passages:
        for sentence in split(passage.text) if passage.whole else ():
            words = count_words(sentence)
            if words >= 3 and sentence.rstrip("\"')*_")[-1:] in (".", "!", "?"):
                yield words, sentence, passage


def find_hits(passages: Sequence[Passage]) -> list[Hit]:
    """Return every phrase that a rule replaces; at most one hit of a rule in a passage."""
    found = ((passage, rule.find(passage), rule) for passage in passages for rule in load_rules())
    return [Hit(passage, phrase, rule) for passage, phrase, rule in found if phrase]
