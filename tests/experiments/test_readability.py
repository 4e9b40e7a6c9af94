"""The linter of prose: its rules, the passages that it reads, and the prose of the repository."""

import json

import pytest
import readability
from prose.passages import (
    Passage,
    read_comments,
    read_docstrings,
    read_markdown,
    read_messages,
    read_notebook,
)
from prose.sentences import count_words, find_hits, find_sentences, load_rules, split

MODULE = '''"""What the module holds. It is short."""
# A comment that goes on
# over two lines.


def scale(x, factor):
    r"""Return x times the factor, so that it grows; see `math`.

    y = x + factor    log det  0

    Arguments:
        x: of the data.
        factor: the scale.
    Raises:
        ValueError: the factor is that of nobody.

    Example:
        >>> scale(1, 2)  # told are no outputs
        2
    """
    raise ValueError(f"factor={factor}: is told to be {x}")
'''


@pytest.mark.parametrize("rule", load_rules(), ids=lambda rule: rule.pattern)
def test_a_rule_finds_its_phrase_and_nothing_else(rule):
    assert rule.find(Passage("docstrings", "", rule.hit, opens=True))
    assert not rule.find(Passage("docstrings", "", rule.fine, opens=True))


@pytest.fixture
def write(tmp_path):
    def put(name, text):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name, tmp_path

    return put


def test_markdown_is_read_without_code_formulas_and_links(write):
    text = "# A title\n\nSee `x = 1`, [the page](a/that-of.md) and $x^2$.\nIt ends.\n\n```\nso that\n```\n\n"
    text += "| a | b |\n|---|---|\n| c d | e |\n"
    passages = list(read_markdown("docs", *write("a.md", text)))
    assert [each.text for each in passages] == [
        "A title",
        "See code, the page and formula. It ends.",
        *("a", "b", "c d", "e"),
    ]
    assert [each.whole for each in passages] == [False, True, False, False, False, False]
    assert passages[1].place == "a.md:3"


def test_docstrings_are_read_by_paragraph_and_item(write):
    passages = list(read_docstrings("docstrings", *write("a.py", MODULE)))
    assert [each.text for each in passages] == [
        "What the module holds. It is short.",
        "Return x times the factor, so that it grows; see code.",
        "of the data.",
        "the scale.",
        "the factor is that of nobody.",
    ]
    hits = [(hit.phrase, hit.passage.place) for hit in find_hits(passages)]
    assert hits == [("What", "a.py:1"), ("so that", "a.py:6"), ("of", "a.py:6"), ("that of", "a.py:6")]


def test_comments_and_messages_are_read(write):
    path, root = write("a.py", MODULE)
    comments = list(read_comments("comments", path, root))
    assert [each.text for each in comments] == ["A comment that goes on over two lines."]
    assert [each.text for each in read_messages("messages", path, root)] == ["factor=value: is told to be value"]
    assert len(find_hits(comments)) == 1


def test_cells_of_a_notebook_are_read(write):
    cells = [
        {"cell_type": "code", "source": ["x"]},
        {"cell_type": "markdown", "source": ["It goes on. ", "So it ends."]},
    ]
    passages = list(read_notebook("notebooks", *write("a.ipynb", json.dumps({"cells": cells}))))
    assert [(each.place, each.text) for each in passages] == [("a.ipynb cell 1", "It goes on. So it ends.")]


def test_sentences_end_at_stops_and_not_at_abbreviations():
    text = "Papamakarios et al. (2017) wrote it, e.g. in Sec. 3. The code is short. flowlab agrees! Does it?"
    assert split(text)[0] == "Papamakarios et al. (2017) wrote it, e.g. in Sec. 3."
    assert split(text)[-2:] == ["flowlab agrees!", "Does it?"]
    assert count_words("A step of 2 000 rows -- code -- ends.") == 8
    found = find_sentences([Passage("docs", "", "A title"), Passage("docs", "", "One two three. Yes.")])
    assert [words for words, *_ in found] == [3]


def test_a_hit_and_a_long_median_fail_the_check(write, capsys):
    path, root = write("README.md", "It is so large that it swaps.\n")
    assert readability.main(["--check"], root) == 0
    path.write_text("The error is below that of a Gaussian.\n", encoding="utf-8")
    assert readability.main(["--check"], root) == 1
    assert "README.md:1: 'that of'; write: repeat the noun" in capsys.readouterr().out
    path.write_text("word " * 18 + "word.\n", encoding="utf-8")
    assert readability.main(["--check"], root) == 1
    assert "README: the median sentence has 19 words" in capsys.readouterr().out
    assert readability.main([], root) == 0


@pytest.mark.parametrize(
    "source", [source for source in readability.read() if source.name != "notebooks"], ids=lambda source: source.name
)
def test_the_prose_of_the_repository_is_plain(source):
    assert source.median <= readability.MEDIAN
    assert not source.hits, "\n".join(map(str, source.hits))
