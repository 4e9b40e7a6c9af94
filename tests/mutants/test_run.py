"""The runner distinguishes caught mutants from survivors, and every function that a patch names exists."""

import importlib
import random
import subprocess
from types import SimpleNamespace

import pytest
from mutants.operators import enclosing_function, excluded_ranges
from mutants.patches import PATCHES, apply_patch, change_arguments, find_target
from mutants.run import ROOT, try_all
from mutants.table import modules_to_mutate, select_tests
from mutants.trial import Trial

SOURCE = '''"""A tiny module."""


def absolute(x: "int | float") -> float:
    """The absolute value.

    >>> absolute(-2)
    2
    """
    while x < 0:
        x = -x
    if x != x:
        raise ValueError(f"x={x}: {1 + 1}")
    return x
'''


def test_runner_distinguishes_caught_and_endless_mutants_from_survivors(tmp_path, capsys):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/sign.py").write_text(SOURCE)
    (tmp_path / "test_it.py").write_text(
        "from tiny.sign import absolute\n\ndef test_it():\n    assert absolute(-2) == 2\n"
    )
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    changes = {
        "wrong": ("x = -x", "x = 1"),
        "broken": ("def absolute", "def other"),
        "endless": ("x = -x", "x = x"),
        "harmless": ("x < 0", "x <= -1"),
    }
    trials = [Trial(("test_it.py",), "tiny/sign.py", each, SOURCE.replace(*changes[each])) for each in changes]
    assert try_all(tmp_path, trials, 2, patience=3) == ["tiny/sign.py: harmless: the tests pass", "caught: 3 of 4"]
    printed = capsys.readouterr().out
    assert "caught   tiny/sign.py: wrong: test_it.py::test_it" in printed
    assert "caught   tiny/sign.py: broken: test_it.py" in printed
    assert "caught   tiny/sign.py: endless: the tests had not ended after " in printed
    assert (tmp_path / "tiny/sign.py").read_text() == SOURCE


def test_annotations_and_messages_are_not_mutated():
    def is_excluded(text):
        lines = SOURCE.splitlines()
        line = next(number for number, content in enumerate(lines, start=1) if text in content)
        place = (line, lines[line - 1].index(text))
        return any(low <= place < high for low, high in excluded_ranges(SOURCE))

    assert [is_excluded(text) for text in ("int | float", "1 + 1", "< 0", "-x")] == [True, True, False, False]
    assert enclosing_function(SOURCE, 11) == "absolute"


@pytest.mark.parametrize("name", PATCHES)
def test_patched_function_exists_and_is_replaced(name):
    module, qualified = find_target(PATCHES[name][0])
    holder, _, last = qualified.rpartition(".")
    namespace = dict(vars(importlib.import_module(module)))
    if holder:  # a copy, so the real class does not change
        namespace[holder] = SimpleNamespace(**vars(namespace[holder]))
    before = vars(namespace[holder])[last] if holder else namespace[last]
    apply_patch(name, qualified, namespace)
    assert (vars(namespace[holder])[last] if holder else namespace[last]) is not before


def test_patch_of_a_missing_function_or_argument_raises():
    with pytest.raises(LookupError, match=r"flowlab\.seeding\.gone is gone"):
        find_target("flowlab.seeding.gone")
    with pytest.raises(LookupError, match="Random has no argument sed"):
        change_arguments(sed=0)(random.Random)


def test_table_finds_modules_and_their_tests():
    assert {"flowlab/seeding.py", "flowlab/bijectors/elementwise.py"} <= set(modules_to_mutate(ROOT))
    assert select_tests(ROOT, "flowlab/seeding.py") == ("tests/test_seeding.py", "flowlab/seeding.py")
