"""The schema of a table: rows to points and contexts and back, guesses, and each mistake in words."""

import json

import numpy as np
import pandas
import pytest
import torch

from flowlab.config.errors import ConfigError, DataError
from flowlab.tables.infer import infer_schema
from flowlab.tables.schema import Schema

ROWS = 2000


KINDS = ["hour:circular:0:24", "size:ordinal"]
CONTEXT = ["group", "age"]


@pytest.fixture(scope="module")
def table(make_table):
    return make_table(ROWS)


@pytest.fixture(scope="module")
def schema(table):
    return infer_schema(table, KINDS, CONTEXT).schema


def test_guesses(table):
    decided = {name: kind for name, kind, _ in infer_schema(table, KINDS, CONTEXT).decided}
    assert decided == {
        "income": "positive",
        "tail": "real",
        "share": "bounded:0:1",
        "visits": "integer:0:inf",
        "hour": "circular:0:24",
        "smoker": "boolean",
        "score": "integer:1:5",
        "size": "ordinal:S:M:L",
        "age": "real",
        "group": "categorical:a:b:c",
    }


def test_rows_come_back_with_their_types(schema, table):
    points, context = schema.encode(table, seed=3)
    assert points.dtype == context.dtype == torch.float64
    assert points.shape == (ROWS, 8)
    assert schema.columns == list(table)[:8]
    assert schema.context_columns == CONTEXT
    rows = schema.decode(points)
    assert (rows.dtypes == table[schema.columns].dtypes).all()
    circular = ["hour"]
    pandas.testing.assert_frame_equal(rows.drop(columns=circular), table[schema.columns].drop(columns=circular))
    assert np.abs(rows["hour"] - table["hour"]).max() < 1e-4


def test_single_precision_stays_inside_every_domain(schema, table):
    low, high = (torch.as_tensor(end, dtype=torch.float32) for end in schema.domains)
    points = schema.encode(table).x.float()
    assert ((points > low) & (points < high)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_point_decodes_into_the_domains(schema, table, dtype):
    from flowlab.tables.domains import Domains

    draws = torch.Generator().manual_seed(0)
    x = 30 * torch.randn(100_000, 8, generator=draws, dtype=dtype)
    x[:2] = torch.tensor([[-torch.inf], [torch.inf]])
    rows = schema.decode(Domains(*map(torch.as_tensor, schema.domains)).to(dtype)(x))
    assert (rows.dtypes == table[schema.columns].dtypes).all()
    assert (rows["income"] > 0).all()
    assert np.isfinite(rows[["income", "tail"]]).all(axis=None)
    assert rows["share"].between(0, 1).all()
    assert (rows["visits"] >= 0).all()
    assert ((rows["hour"] >= 0) & (rows["hour"] < 24)).all()
    assert set(rows["score"]) == {1, 2, 3, 4, 5}
    assert set(rows["size"]) == {"S", "M", "L"}


def test_noise_is_a_function_of_seed_and_row(schema, table):
    first, same, other = (schema.encode(table, seed=seed).x for seed in (1, 1, 2))
    visits = schema.columns.index("visits")
    assert torch.equal(first, same)
    assert not torch.equal(first[:, visits], other[:, visits])
    assert torch.equal(first[:, 0], other[:, 0])
    assert torch.equal(schema.encode(table.head(50), seed=1).x, first[:50])
    noise = first[:, visits] - torch.tensor(table["visits"].to_numpy())
    assert noise.mean() == pytest.approx(0.5, abs=0.03)


def test_fresh_noise_changes_discrete_columns_alone(schema, table):
    points = schema.encode(table).x.float()
    renew = schema.fresh_noise(points)
    new = renew(points, torch.Generator().manual_seed(5))
    discrete = schema.discrete
    others = [place for place in range(8) if place not in discrete]
    assert torch.equal(new[:, others], points[:, others])
    assert not (new[:, discrete] == points[:, discrete]).any(0).all()
    pandas.testing.assert_frame_equal(
        schema.decode(new)[["visits", "smoker", "score", "size"]], table[["visits", "smoker", "score", "size"]]
    )
    assert infer_schema(table[["income", "tail"]]).schema.fresh_noise(points) is None


def test_schema_is_plain_data(schema, table):
    loaded = Schema.from_dict(json.loads(json.dumps(schema.to_dict())))
    assert torch.equal(loaded.encode(table).x, schema.encode(table).x)
    assert torch.equal(loaded.encode(table).context, schema.encode(table).context)
    assert loaded.decode(loaded.encode(table).x).equals(schema.decode(schema.encode(table).x))


@pytest.mark.parametrize(
    "data", [None, [], {"columns": []}, {"columns": [], "context": []}, {"columns": [{"name": "a"}], "context": []}]
)
def test_damaged_data_are_no_schema(data):
    with pytest.raises(ValueError, match="is no schema"):
        Schema.from_dict(data)


def test_contexts(schema, table):
    single = schema.encode_context({"group": "b", "age": 30})
    assert single[:3].tolist() == [0, 1, 0]
    assert single[3] == pytest.approx((30 - table["age"].mean()) / table["age"].std(), abs=1e-3)
    assert torch.equal(schema.encode_context({"age": 30, "group": "b"}, rows=2), single.expand(2, -1))
    several = schema.encode_context({"group": ["a", "b"], "age": 30})
    assert torch.equal(several[1], single)
    assert torch.equal(schema.encode_context(table), schema.encode(table).context)


def test_circular_and_boolean_conditions(make_table):
    frame = make_table(100)[["income", "hour", "smoker"]]
    schema = infer_schema(frame, ["hour:circular:0:24"], ["hour", "smoker"]).schema
    assert schema.context_shape == (3,)
    assert schema.encode_context({"hour": 6, "smoker": True})[:2].tolist() == pytest.approx([0, 1], abs=1e-12)
    beside = schema.encode_context({"hour": [0.0, 23.999], "smoker": False})
    assert (beside[0] - beside[1]).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("kinds", "context", "message"),
    [
        (
            (),
            (),
            "holds text or categories, which have no density; condition on it with target.context=[group]",
        ),
        (["group:categorical"], (), "column 'group' holds text or categories"),
        (["agee:real"], ["group"], "target.kinds: no column 'agee'; did you mean 'age'"),
        ((), ["grup"], "target.context: no column 'grup'; did you mean 'group'"),
        ({"group": "circle"}, (), "target.kinds=group: no such kind: 'circle'; did you mean 'circular'"),
        (["group:real"], (), "column 'group' holds 'c' in row 1, which is not a number"),
        (["group:ordinal:a:b"], (), "column 'group' holds 'c' in row 1, which is no category of it; allowed: a, b"),
        ((), ["group", "age"], None),
    ],
)
def test_mistakes_of_kinds_and_conditions(kinds, context, message):
    frame = pandas.DataFrame({"age": range(20), "group": ["c", "a", "b", "a"] * 5})
    if message is None:
        message = "every column is in target.context"
    with pytest.raises(ConfigError) as raised:
        infer_schema(frame, kinds, context)
    assert message in str(raised.value)


def test_values_outside_are_refused_or_kept_as_nan(schema, table):
    bad = table.head(3).assign(income=[1.0, -2.0, 0.0])
    with pytest.raises(DataError) as raised:
        schema.encode(bad, where="rows.csv")
    assert str(raised.value) == (
        "rows.csv: column 'income' holds -2.0 in row 2, and 1 more such value(s); its kind, positive, allows numbers "
        "above 0; remove the rows, or choose another kind with target.kinds=[income:KIND]"
    )
    assert schema.encode(bad, outside="keep").x[:, 0].isnan().tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns="share"), "no column 'share', which the flow needs; there are: income"),
        (
            lambda frame: frame.assign(share=[0.5, None, 0.1]),
            "column 'share' holds NaN or nothing in 1 row(s), the first in row 2",
        ),
        (lambda frame: frame.assign(share=["a", "b", "c"]), "column 'share' holds 'a' in row 1, which is not a number"),
        (
            lambda frame: frame.assign(group=["a", "z", "a"]),
            "column 'group' holds 'z' in row 2, which is no category of it; allowed: a, b, c",
        ),
        (lambda frame: frame.assign(group=["a", None, "a"]), "column 'group' holds NaN or nothing"),
    ],
)
def test_mistakes_of_rows(schema, table, change, message):
    with pytest.raises(DataError) as raised:
        schema.encode(change(table.head(3)))
    assert message in str(raised.value)


def test_an_unknown_condition_is_named(schema):
    with pytest.raises(DataError, match="'sex' is no condition of the flow; give group, age"):
        schema.encode_context({"sex": 1})


def test_numbers_and_words_of_one_category_are_equal():
    frame = pandas.DataFrame({"x": np.arange(20.0) - 5, "code": [1, 2] * 10})
    schema = infer_schema(frame, ["code:categorical"], ["code"]).schema
    assert torch.equal(schema.encode_context({"code": 2}), schema.encode_context({"code": "2"}))
