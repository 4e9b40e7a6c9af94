"""The generated pages of the site say what the code says. Nothing here needs Sphinx."""

import dataclasses
import doctest
import re

import api_pages
import command_pages
import docstrings
import formulas
import lessons
import pages
import pytest
import settings_pages

import flowlab
from flowlab.cli.sample import USAGE
from flowlab.config.component import setting
from flowlab.config.registry import PACKAGES, lookup, names
from flowlab.config.schema import RunConfig, TrainerConfig

ROW = re.compile(r"^\| `([\w.]+)` \| ([^|]*) \| ([^|]*) \| ([^|]*) \| (.*) \|$", re.MULTILINE)
PAGES = settings_pages.settings_pages()
ROWS = {name: ROW.findall(text) for name, text in PAGES.items()}


@pytest.mark.parametrize("module", [formulas, pages, docstrings])
def test_examples_of_the_extensions(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("page", [name for name, rows in ROWS.items() if rows])
def test_every_key_has_a_type_a_default_and_a_meaning(page):
    assert not [key for key, kind, _, default, meaning in ROWS[page] if not (kind and default and meaning.strip())]


def test_every_key_of_every_component_is_on_a_page():
    """The keys of a run, of the trainer, and of each registered target, flow, objective, optimizer and logger."""
    shown = {key for rows in ROWS.values() for key, *_ in rows}
    wanted = {item.name for item in dataclasses.fields(RunConfig)}
    wanted |= {f"trainer.{item.name}" for item in dataclasses.fields(TrainerConfig)}
    for group in ("target", "flow", "objective", "optimizer", "logger"):
        for name in names(group):
            component = lookup(group, name)
            if not component.__module__.startswith(PACKAGES[group]):
                continue  # a test has registered it
            prefix = f"logger.{name}" if group == "logger" else group
            wanted |= {f"{prefix}.{item.name}" for item in dataclasses.fields(component) if item.init}
    assert wanted - shown == set()


def test_ranges_and_defaults_are_those_of_the_code():
    depth = next(row for row in ROWS["flow.md"] if row[0] == "flow.rank")
    assert depth[1:4] == ("whole number", "at least 0", "`2`")
    rate, decay = (
        next(row for row in ROWS["optimizer.md"] if row[0] == f"optimizer.{name}") for name in ("lr", "weight_decay")
    )
    assert rate[1:4] == ("number", "greater than 0", "`0.01`")
    assert decay[1:3] == ("number", "at least 0, null follows the data")
    assert "| `target.path` | word |  | must be given |" in PAGES["target.md"]


def test_a_range_in_words():
    @dataclasses.dataclass
    class Example:
        share: float = setting(0.5, above=0, below=1)
        sizes: list[int] = setting([1], minimum=1, maximum=1000)

    share, sizes = dataclasses.fields(Example)
    assert settings_pages._range(share, "float") == "greater than 0, less than 1"
    assert settings_pages._range(sizes, "list[int]") == "at least 1, at most 1\N{NO-BREAK SPACE}000, not empty"


def test_the_page_of_commands_holds_what_help_prints():
    page = command_pages.commands_page()
    assert USAGE in page
    assert "## flowlab-train" in page
    assert "| `make docs` |" in page


def test_the_page_of_sweeps_counts_their_runs():
    page = command_pages.sweeps_page()
    assert "| [`saturating`](#saturating) | 384 |" in page
    assert "| [`depth_rank`](#depth-rank) | 18 |" in page


def test_every_mistake_of_the_page_of_errors_is_still_one():
    said = command_pages.mistakes_list()
    assert "did you mean 'flow.depth'?" in said or "did you mean 'depth'?" in said
    with pytest.raises(ValueError, match="no mistake any more"):
        command_pages.message_of("seed=3")


def test_every_public_name_is_on_one_page():
    texts = api_pages.api_pages()
    assert "flowlab.rst" in texts
    documented = re.findall(r"^\.\. auto(?:class|function):: (\S+)$", "".join(texts.values()), re.MULTILINE)
    assert len(documented) == len(set(documented))
    assert {"flowlab.bijectors.Planar", "flowlab.Flow", "flowlab.fit", "flowlab.targets.Banana"} <= set(documented)
    for name in flowlab.__all__:
        assert name in texts["flowlab.rst"]


def test_the_course_map_lists_every_lesson_in_order():
    rows = lessons.course_map().splitlines()[2:]
    numbers = [re.search(r"\| (\d\d[a-z]?) \[", row)[1] for row in rows]
    assert len(numbers) == len(lessons.lesson_pages("x"))
    assert numbers == sorted(set(numbers))


def test_lessons_of_a_repository_on_github_have_links_to_colab_and_binder():
    rows = lessons.course_map("https://github.com/someone/flowlab/blob/main").splitlines()[2:]
    for row, path in zip(rows, sorted((lessons.ROOT / "notebooks").glob("*.ipynb")), strict=True):
        assert f"https://colab.research.google.com/github/someone/flowlab/blob/main/notebooks/{path.name})" in row
        assert f"https://mybinder.org/v2/gh/someone/flowlab/main?urlpath=lab/tree/notebooks/{path.name})" in row
    assert "Colab" not in lessons.course_map("file:///flowlab")


def test_links_of_the_repository_s_pages_hold_on_the_site(tmp_path):
    text = "# Title\n\n[a](docs/how-to/ray.md), [b](BENCHMARKS.md), [c](https://example.org), [d](#place)\n"
    (tmp_path / "PAGE.md").write_text(text, encoding="utf-8")
    expected = "[a](/how-to/ray.md), [b](https://host/main/BENCHMARKS.md), [c](https://example.org), [d](#place)\n"
    assert pages.repository_page(tmp_path / "PAGE.md", "https://host/main") == expected
