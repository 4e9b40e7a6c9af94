"""The density of a table in memory: flowlab.fit with a flow by its name."""

import numpy as np
import pandas
import pytest

import flowlab
from flowlab.config.errors import ConfigError, DataError
from flowlab.density.table import CHUNK


@pytest.fixture(scope="module")
def table():
    draws = np.random.default_rng(0)
    group = draws.choice(["a", "b"], 600)
    return pandas.DataFrame(
        {
            "group": group,
            "income": np.exp(draws.normal(3, 0.5, 600) + (group == "a")),
            "kids": draws.poisson(2, 600),
            "age": draws.integers(18, 80, 600),
            "share": draws.random(600).astype("float32"),
            "ok": draws.random(600) < 0.3,
        }
    )


@pytest.fixture(scope="module")
def density(table):
    return flowlab.fit(table, flow="nsf", context=["age", "group"], steps=300, progress="off")


def test_rows_have_the_columns_and_types_of_the_table(density, table):
    rows = density.sample(context=table[:200])
    assert list(rows.columns) == list(table.columns)
    numeric = ["income", "kids", "age", "share", "ok"]
    assert rows[numeric].dtypes.equals(table[numeric].dtypes)
    assert rows["group"].tolist() == table["group"][:200].tolist()
    assert (rows["income"] > 0).all()
    assert (rows["kids"] >= 0).all()
    assert rows["share"].between(0, 1).all()


def test_rows_follow_their_conditions(density):
    means = {group: density.sample(4000, {"age": 40, "group": group})["income"].mean() for group in "ab"}
    assert means["a"] > 1.8 * means["b"]  # e in the table


def test_equal_seeds_draw_equal_rows_in_chunks(table):
    density = flowlab.fit(table[["share"]], flow="nsf", steps=1, progress="off")
    rows = density.sample(CHUNK + 5, seed=3)
    assert len(rows) == CHUNK + 5
    assert rows.equals(density.sample(CHUNK + 5, seed=3))
    assert not rows[:5].equals(rows[CHUNK:].reset_index(drop=True))


def test_scores_are_densities_in_the_units_of_the_table(table):
    tenfold = table[["income"]] * 10
    one, ten = (flowlab.fit(each, flow="nsf", steps=50, progress="off") for each in (table[["income"]], tenfold))
    assert np.allclose(one.log_prob(table), ten.log_prob(tenfold) + np.log(10), atol=1e-3)


def test_values_outside_of_a_domain_have_no_density(density, table):
    rows = table[:3].assign(kids=[1, -1, 2])
    assert np.isneginf(density.log_prob(rows)).tolist() == [False, True, False]


def test_held_out_rows_are_scored(density, table):
    assert density.score() == pytest.approx(density.log_prob(density.target.frame("test")).mean())
    assert len(density.target.frame("test")) == 90


def test_fit_by_name_and_fit_of_its_flow_take_the_same_steps(table):
    first, second = (flowlab.fit(table[["income"]], flow="nsf", steps=20, progress="off") for _ in range(2))
    assert np.array_equal(first.log_prob(table), second.log_prob(table))


def test_settings_of_a_flow(table):
    settings = flowlab.compose("flow=nsf", "flow.depth=2").flow
    density = flowlab.fit(table[["income"]], flow=settings, steps=1, kinds={"income": "real"}, progress="off")
    assert density.config.flow.depth == 2
    assert density.schema.coordinates[0].kind.words == "real"


def test_notes_name_arguments(table, capsys):
    flowlab.fit(table[["kids"]], flow="nsf", steps=1, progress="off")
    said = capsys.readouterr().err
    assert "change one with kinds=[COLUMN:KIND]" in said
    assert "target." not in said


def test_report_is_one_page(density, tmp_path):
    pytest.importorskip("sklearn")
    page = density.report(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<title>Report on page</title>" in page
    assert "income" in page
    (tmp_path / "own.html").write_text("mine")
    with pytest.raises(ConfigError, match="own.html: exists already"):
        density.report(tmp_path / "own.html")
    assert (tmp_path / "own.html").read_text() == "mine"


def test_kinds_need_not_be_guessed(table):
    density = flowlab.fit(table[["income"]], flow="nsf", steps=1, guess=False, progress="off")
    assert density.schema.coordinates[0].kind.words == "real"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"flow": "nsff"}, "flow=nsff: no such option; did you mean 'nsf'"),
        ({"flow": "nsf"}, "column 'group' holds .* condition on it with context=\\[group\\]"),
        ({"flow": "nsf", "context": "group", "steps": 0}, "max_steps=0: must be at least 1"),
        ({"flow": "nsf", "context": "group", "kinds": {"kids": "nope"}}, "kinds=kids"),
        ({"flow": "nsf", "context": "group", "patiense": 3}, "patiense: no such key"),
    ],
)
def test_mistakes(table, arguments, message):
    with pytest.raises(ConfigError, match=message):
        flowlab.fit(table, progress="off", **arguments)


def test_mistakes_of_a_density(density, table):
    with pytest.raises(ConfigError, match="give the values of age, group"):
        density.sample(3)
    with pytest.raises(DataError, match="'z' in row 1, which is no category"):
        density.sample(3, context={"age": 30, "group": "z"})
    with pytest.raises(ConfigError, match="n=5: the context has 3 rows"):
        density.sample(5, context=table[:3])
    with pytest.raises(ConfigError, match="n=0: must be at least 1"):
        density.sample(0, context=table[:1])
    with pytest.raises(DataError, match="no column 'age'"):
        density.log_prob(table.drop(columns="age"))
