"""Kinds of columns: which values they hold, and that values become points inside of a domain and come back."""

import math

import numpy as np
import pytest

from flowlab.config.errors import ConfigError
from flowlab.tables.kinds import KINDS
from flowlab.tables.parse import kind_from_dict, parse_kind, split_kinds

INF = math.inf
# For each kind, numbers that it accepts, ends included, and numbers that it does not.
CASES = {
    "real": ([-1e30, 0, 1e30], [INF, math.nan]),
    "positive": ([1e-300, 1, 1e30], [0, -1]),
    "bounded:0:1": ([0, 1e-5, 0.5, 1], [-1e-9, 1.001]),
    "bounded:0:inf": ([0, 0.001, 7, 1e6], [-1]),
    "bounded:-inf:5": ([5, 4.999, 3, -100], [5.1]),
    "bounded:1000:1001": ([1000, 1000.5, 1001], [999]),
    "circular:0:24": ([0, 12.5, 23.99], [-1, 25]),
    "circular:-180:180": ([-180, 0, 179.9], [181]),
    "integer": ([-5, 0, 2**20], [0.5]),
    "integer:0:inf": ([0, 1, 10**6], [-1, 0.5]),
    "integer:1:5": ([1, 3, 5], [0, 6, 1.5]),
    "boolean": ([0, 1], [2, 0.5]),
    "ordinal:low:middle:high": ([0, 1, 2], [3, -1, 0.5]),
}


def test_every_kind_with_a_density_has_a_case():
    assert {words.partition(":")[0] for words in CASES} == {name for name, kind in KINDS.items() if kind.coordinate}


@pytest.mark.parametrize("words", CASES)
def test_numbers_become_points_inside_the_domain_and_come_back(words):
    inside, outside = CASES[words]
    numbers = np.array(inside, dtype=float)
    kind = parse_kind(words, "kinds").fit(numbers)
    assert kind.words == words
    assert kind.accepts(numbers).all()
    assert not kind.accepts(np.array(outside, dtype=float)).any()
    low, high = kind.domain
    for noise in (1e-7, 0.5, 1 - 1e-7):
        points = kind.to_points(numbers, np.full(len(numbers), noise))
        for dtype in (np.float64, np.float32):
            rounded = points.astype(dtype)
            assert (rounded > dtype(low)).all()
            assert (rounded < dtype(high)).all()
        back = kind.to_numbers(points)
        assert kind.holds(back).all()
        assert back == pytest.approx(numbers, rel=1e-5, abs=1e-3 if words.startswith("circular") else 1e-5)
        exact = kind.discrete or words.startswith("bounded")
        assert not exact or (back == numbers).all()


@pytest.mark.parametrize("words", [*CASES, "categorical:a:b"])
def test_a_kind_is_plain_data(words):
    kind = parse_kind(words, "kinds").fit(np.array([0.5, 1.0]))
    assert kind_from_dict(kind.to_dict()) == kind


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kind": "nonsense"}, "is not a kind of column"),
        ({"kind": "real", "low": 0}, "real has no low"),
        ({"kind": "bounded", "low": 1, "high": 0}, "bounded:1:0: has no values"),
        ({"kind": "bounded", "low": "0", "high": 1}, "bounded: low='0'"),
        ({"kind": "ordinal", "values": [["a"]]}, "ordinal: values="),
        ({"kind": "ordinal", "values": "ab"}, "ordinal: values='ab'"),
    ],
)
def test_damaged_data_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        kind_from_dict(data)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("positiv", "no such kind: 'positiv'; did you mean 'positive'"),
        ("positive:1", "takes no arguments; write positive"),
        ("bounded", "write bounded:LOW:HIGH"),
        ("bounded:0", "write bounded:LOW:HIGH"),
        ("bounded:a:b", "write bounded:LOW:HIGH"),
        ("bounded:1:0", "LOW must be below HIGH; write bounded:LOW:HIGH"),
        ("circular:0:inf", "LOW and HIGH must be finite; write circular:LOW:HIGH"),
        ("integer:0.5:2", "LOW and HIGH must be whole numbers"),
        ("ordinal:a", "needs at least two values"),
        ("ordinal:a:a", "names a value twice"),
    ],
)
def test_mistakes_in_a_kind(words, message):
    with pytest.raises(ConfigError) as raised:
        parse_kind(words, "target.kinds=x")
    assert message in str(raised.value)
    assert str(raised.value).startswith("target.kinds=x: ")


def test_a_column_name_may_hold_colons_and_commas():
    assert split_kinds(["a:b:positive", "height, in cm:integer:0:inf"]) == {
        "a:b": "positive",
        "height, in cm": "integer:0:inf",
    }


@pytest.mark.parametrize(
    ("given", "message"), [(["age"], "'age': must be COLUMN:KIND"), (["a:real", "a:real"], "names column 'a' twice")]
)
def test_mistakes_in_a_list_of_kinds(given, message):
    with pytest.raises(ConfigError, match=message):
        split_kinds(given)


def test_a_circle_is_cut_at_its_emptiest_place():
    hours = np.random.default_rng(0).normal(23, 2, 5000) % 24
    kind = parse_kind("circular:0:24", "kinds").fit(hours)
    assert kind.domain[0] == pytest.approx(11, abs=4)
    points = kind.to_points(hours, hours)
    assert points.std() == pytest.approx(2, abs=0.1)  # no part of the hump is on the other side


def test_a_point_beside_the_cut_is_in_the_turn():
    kind = parse_kind("circular:0:24", "kinds").fit(np.array([12.0, 12.5, 11.0]))
    low, high = kind.domain
    points = np.array([np.nextafter(low, high), np.nextafter(high, low), 24.0, np.nextafter(24.0, 0)])
    assert kind.holds(kind.to_numbers(points)).all()
