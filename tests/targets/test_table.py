"""target=table: kinds and conditions from a file, its notes, missing values, and noise of discrete columns."""

import json

import numpy as np
import pandas
import pytest
import torch

from flowlab import compose
from flowlab.config.errors import ConfigError, DataError
from flowlab.targets import FileTarget
from flowlab.training.build import epoch_batches

ROWS = 400
TEXT_KINDS = ["hour:circular:0:24", "size:ordinal:S:M:L"]


@pytest.fixture(scope="module")
def path(make_table, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "rows.csv"
    make_table(ROWS).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def target(path):
    return FileTarget(path, kinds=TEXT_KINDS, context=["age", "group"], guess=True)


def test_settings_of_the_command_line_are_those_of_the_class(path, target):
    words = [f"target.path={path}", f"target.kinds=[{','.join(TEXT_KINDS)}]", "target.context=[age,group]"]
    built = compose("target=table", *words).target.build()
    assert built.schema.to_dict() == target.schema.to_dict()
    assert built.columns == ["income", "tail", "share", "visits", "hour", "smoker", "score", "size"]
    assert built.context_shape == (4,)


def test_a_file_guesses_nothing(path):
    target = FileTarget(path, columns=["income", "visits", "hour"])
    assert [column.kind.words for column in target.schema.coordinates] == ["real"] * 3
    assert target.schema.domains is None
    assert not any("kinds of the columns" in note for note in target.notes)
    assert type(target.to_units()).__name__ == "AffineScalar"


def test_the_kinds_are_printed_with_what_to_type(target):
    kinds = next(note for note in target.notes if "kinds of the columns" in note)
    assert "change one with target.kinds=[COLUMN:KIND]" in kinds
    assert "\n  hour    circular:0:24      given" in kinds
    assert "\n  group   categorical:a:b:c  text, a condition" in kinds
    bound = next(note for note in target.notes if "lower bound" in note)
    assert "'visits', 'smoker', 'score', 'size' hold separate values" in bound


def test_a_split_is_a_frame_with_the_rows_of_the_file(path, target):
    whole = pandas.read_csv(path)
    for split in ("train", "validation", "test"):
        rows = target.row_numbers[split].numpy() - 1
        expected = whole.iloc[rows].reset_index(drop=True)
        frame = target.frame(split)
        pandas.testing.assert_frame_equal(frame, expected)
        decoded = target.schema.decode(target.rows(split, 0, 0, torch.float64))
        assert decoded["visits"].equals(expected["visits"])
        assert decoded["income"].equals(expected["income"])
    assert sum(map(len, map(target.frame, ("train", "validation", "test")))) == ROWS


def test_standardization_is_of_the_unconstrained_rows(target):
    points = target.batch("train", 0, 0, torch.float64).x
    z = target.to_units().inverse(points)
    assert z.mean(0).abs().max() < 1e-9
    assert (z.std(0) - 1).abs().max() < 1e-9


def test_log_densities_are_in_the_units_of_the_data(target):
    from flowlab import Flow, StandardNormal

    flow = Flow(StandardNormal(8), target.to_units()).double()
    center, spread = target.standardization
    income = target.frame("test")["income"].to_numpy()
    exact = torch.distributions.LogNormal(center[0], spread[0]).log_prob(torch.tensor(income))
    points = target.rows("test", 0, 0, torch.float64)
    other = points.clone()
    other[:, 0] = points[:, 0].roll(1)
    change = flow.log_prob(points) - flow.log_prob(other)
    torch.testing.assert_close(change, exact - exact.roll(1))


def test_held_out_noise_is_fixed_and_training_noise_is_new(path, target):
    again = FileTarget(path, kinds=TEXT_KINDS, context=["age", "group"], guess=True)
    assert torch.equal(again.rows("test", 0, 1), target.rows("test", 0, 2))
    rows = target.batch("train", 0, 0, torch.float32)
    batches = epoch_batches(rows, 0, len(rows.x), None, target.schema)
    visits = target.columns.index("visits")

    def column(step):
        return batches(step).x[:, visits].sort().values

    assert torch.equal(column(0), column(0))
    assert not torch.equal(column(0), column(1))
    assert torch.equal(column(0).floor(), column(1).floor())
    income = [batches(step).x[:, 0].sort().values for step in (0, 1)]
    assert torch.equal(*income)


def write(tmp_path, frame):
    frame.to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path / "rows.csv"


def with_gaps(make_table):
    frame = make_table(100)
    frame.loc[[3, 50], "income"] = np.nan
    frame.loc[50, "group"] = None
    return frame


def test_missing_values_are_refused_with_a_count_and_a_remedy(make_table, tmp_path):
    path = write(tmp_path, with_gaps(make_table))
    with pytest.raises(DataError) as raised:
        FileTarget(path, ["income"], guess=True)
    assert "2 row(s) hold NaN, infinity or nothing, the first in row 4" in str(raised.value)
    assert "(2 in 'income'), or add target.missing=drop" in str(raised.value)
    with pytest.raises(DataError) as raised:
        FileTarget(path, ["tail"], context=["group"])
    assert "1 row(s) hold NaN" in str(raised.value)
    assert "1 in 'group'" in str(raised.value)
    assert "target.missing=drop" in str(raised.value)


def test_rows_with_missing_values_are_dropped(make_table, tmp_path):
    path = write(tmp_path, with_gaps(make_table))
    target = FileTarget(path, ["income", "tail"], context=["group"], missing="drop")
    assert target.notes[0].endswith("2 of 100 rows lack a value and are left out: 2 in 'income', 1 in 'group'")
    numbers = torch.cat(list(target.row_numbers.values())).tolist()
    assert set(range(1, 101)) - set(numbers) == {4, 51}
    whole = pandas.read_csv(path)
    number = int(target.row_numbers["test"][0])
    assert target.frame("test")["income"][0] == whole["income"][number - 1]


def test_truth_values_with_a_gap_stay_truth_values(make_table, tmp_path):
    frame = make_table(100)[["income", "smoker"]].astype({"smoker": object})
    frame.loc[7, "smoker"] = None
    target = FileTarget(write(tmp_path, frame), missing="drop", guess=True)
    assert [column.kind.words for column in target.schema.coordinates] == ["positive", "boolean"]
    assert target.frame("train")["smoker"].dtype == bool


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": ["income", "group"]}, "condition on it with target.context=[group]"),
        ({"kinds": TEXT_KINDS}, "condition on it with target.context=[group]"),
        ({"columns": ["income", "age"], "context": ["age"]}, "target.context=age: is no coordinate; leave it out"),
        ({"columns": ["income"], "context": ["agee"]}, "no column 'agee'"),
        ({"columns": ["income"], "kinds": ["incom:real"]}, "target.kinds: no column 'incom'; did you mean 'income'"),
        ({"columns": ["tail"], "kinds": ["tail:positive"]}, "its kind, positive, allows numbers above 0"),
        ({"columns": ["visits"], "kinds": ["visits:integer:0:2"]}, "allows whole numbers from 0 to 2"),
        ({"columns": ["size"], "kinds": ["size:ordinal:S:M"]}, "holds 'L'"),
    ],
)
def test_mistakes(path, settings, message):
    with pytest.raises(ConfigError) as raised:
        FileTarget(path, guess=True, **settings)
    assert message in str(raised.value)


def test_weights_and_conditions_are_no_coordinates(make_table, tmp_path):
    frame = make_table(200)[["income", "tail", "age"]].assign(w=1.0)
    target = FileTarget(write(tmp_path, frame), weights="w", context=["age"], guess=True)
    assert target.columns == ["income", "tail"]
    assert target.context_shape == (1,)
    assert "w" not in target.frame("train")


def test_values_at_closed_ends_have_a_density(tmp_path):
    from flowlab import Flow, StandardNormal

    share = np.random.default_rng(0).random(300)
    share[:3] = [0, 1, 0]
    target = FileTarget(write(tmp_path, pandas.DataFrame({"share": share})), guess=True)
    flow = Flow(StandardNormal(1), target.to_units()).float()
    for split in ("train", "validation", "test"):
        assert flow.log_prob(target.rows(split, 0, 0)).isfinite().all()


def test_schema_of_a_target_is_json(target):
    json.dumps(target.schema.to_dict(), allow_nan=False)
