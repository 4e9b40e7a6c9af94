"""Columns without a finite density are refused; columns and values that spoil a fit are named."""

import numpy as np
import pandas
import pytest
import torch

import flowlab
from flowlab import ConfigError, Flow, StandardNormal, compose, load_run, train, train_many
from flowlab.bijectors import AffineScalar, LowRankAffine, stages
from flowlab.config.directories import training_settings
from flowlab.optimizers import Adam
from flowlab.tables.robust import RobustScale
from flowlab.targets import Banana, DataError, FileTarget

COUNT = 1000
RNG = np.random.default_rng(0)
A, B, C = RNG.normal(size=(3, COUNT))
PARTS = RNG.dirichlet([1.0, 2.0, 3.0], COUNT)


def write(path, **columns):
    pandas.DataFrame(columns).to_csv(path / "points.csv", index=False)
    return path / "points.csv"


INFINITE = {
    "repeated": ({"a": A, "b": B, "c": A}, "'c' is a linear function of 'a' in every", "target.columns=[a,b]"),
    "scaled": ({"a": 2 - 3 * A, "b": B, "c": A}, "is a linear function of", "leave it out with target.columns="),
    "sum": ({"a": A, "b": B, "c": 1e6 * (A + B)}, "is a linear function of", "leave it out with target.columns="),
    "rows that sum to one": (
        dict(zip("abc", PARTS.T, strict=True)),
        "is a linear function of",
        "so the density is infinite",
    ),
    "constant": ({"a": A, "b": np.full(COUNT, 1e20)}, "column 'b' has the same value", "target.columns"),
}


@pytest.mark.parametrize("name", INFINITE)
def test_infinite_density_is_refused(name, tmp_path):
    columns, *said = INFINITE[name]
    with pytest.raises(DataError) as error:
        FileTarget(write(tmp_path, **columns))
    for part in said:
        assert part in str(error.value)


NOTED = {
    "rounded shares": (dict(zip("abc", PARTS.T.round(4), strict=True)), ["is nearly a linear function of"]),
    "two units": (
        {"kg": 70 + 10 * A, "b": B, "lb": (22.0462 * A).round(3)},
        ["'lb' is nearly a linear function of 'kg'"],
    ),
    "row numbers": ({"Unnamed: 0": np.arange(COUNT), "a": A}, ["'Unnamed: 0' numbers the rows", "target.index=true"]),
    "hours": ({"t": 7.5 + 0.1 * np.arange(COUNT), "a": A}, ["'t' numbers the rows"]),
    "row numbers backwards": ({"a": A, "i": 10 * np.arange(COUNT)[::-1]}, ["'i' numbers the rows"]),
    "rounded percentages": (
        dict(zip("abc", (100 * PARTS.T).round(1), strict=True)),
        ["is nearly a linear function of"],
    ),
    "rounded units": (
        {"C": (20 + 5 * A).round(1), "F": (68 + 9 * A).round(1), "b": B},
        ["'F' is nearly a linear function of 'C'"],
    ),
    "copied rows": (
        {"a": np.tile(A[:200], 5), "b": np.tile(B[:200], 5)},
        ["800 of 1000 rows are copies of others", "drop the copies"],
    ),
    "boolean": ({"a": A, "flag": B > 0}, ["values repeat in 'flag' (2 different values)"]),
    "counts": (
        {"a": A, "n": RNG.poisson(3, COUNT), "m": RNG.poisson(100, COUNT)},
        ["'n' (", "'m' (", "different values)"],
    ),
    "zeros": ({"a": A, "rain": np.where(B < 0.5, 0, np.exp(C))}, ["'rain' (0 in ", "% of the rows)", "add noise"]),
    "few values": ({"a": A, "kind": RNG.choice([0.1, 0.25, 1.7], COUNT)}, ["'kind' (3 different values)"]),
    "sentinel": (
        {"a": A, "b": np.where(np.arange(COUNT) % 400 == 7, -9999, B)},
        ["'b' holds -9999 in row 8", "2 more row"],
    ),
    "outlier": (
        {"a": np.where(np.arange(COUNT) == 41, 1e9, A), "b": B},
        ["column 'a' holds 1e+09 in row 42", "target.robust"],
    ),
    "outlier among zeros": (
        {"a": A, "b": np.where(np.arange(COUNT) == 9, 1e6, np.where(C > 0, 0, B))},
        ["'b' holds 1e+06 in row"],
    ),
}


@pytest.mark.parametrize("name", NOTED)
def test_spoiling_columns_are_named(name, tmp_path):
    columns, said = NOTED[name]
    notes = "\n".join(FileTarget(write(tmp_path, **columns)).notes)
    for part in said:
        assert part in notes


def test_sound_columns_give_no_notes(tmp_path):
    shared = np.where(np.arange(COUNT) == 5, 1e3, 0)  # two columns that share an outlier alone
    columns = {"a": A, "b": A + 0.02 * B, "c": np.exp(C), "d": RNG.exponential(size=COUNT)}
    assert FileTarget(write(tmp_path, **columns)).notes == []
    notes = FileTarget(write(tmp_path, a=A + shared, b=B + shared)).notes
    assert len(notes) == 2
    assert all("in row 6" in note for note in notes)


def test_notes_are_printed_before_training(tmp_path, capsys):
    path = write(tmp_path, a=np.where(np.arange(COUNT) == 41, -1e6, A), b=B)
    train(compose("target=file", f"target.path={path}", "max_steps=2", "trainer.progress=off"), tmp_path / "run")
    assert "column 'a' holds -1e+06 in row 42" in capsys.readouterr().err
    robust = FileTarget(path, robust=True).notes
    assert robust[0].endswith("; target.robust=true keeps it from spoiling the other rows")


def test_notes_are_printed_once_a_sweep(tmp_path, capfd):
    path = write(tmp_path, a=np.where(np.arange(COUNT) == 41, -1e6, A), b=B)
    quick = ("max_steps=1", "trainer.progress=off", "trainer.compile=false")
    configs = [compose("target=file", f"target.path={path}", f"flow.depth={depth}", *quick) for depth in (1, 2)]
    for directory, group, count in (("sweep", "sweep", 1), ("runs", None, 2)):
        for number, config in enumerate(configs):
            train(config, tmp_path / directory / str(number), group=group)
        assert capfd.readouterr().err.count("column 'a' holds -1e+06 in row 42") == count
    said = []
    train_many(configs, [tmp_path / "many" / str(number) for number in range(2)], processes=2, say=said.append)
    assert sum("in row 42" in line for line in said) == 1
    assert "in row 42" not in capfd.readouterr().err


KINDS = {
    "frame": pandas.DataFrame,
    "array": lambda columns: np.stack(list(columns.values()), 1).astype(float),
    "tensor": lambda columns: torch.from_numpy(np.stack(list(columns.values()), 1).astype(float)),
}


def fit(data, columns, **settings):
    flow = Flow(StandardNormal(len(columns)), LowRankAffine(len(columns)))
    return flowlab.fit(flow, data, **{"steps": 1, "progress": "off", **settings})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", INFINITE)
def test_fit_refuses_an_infinite_density(name, kind):
    columns, said, _ = INFINITE[name]
    renamed = said if kind == "frame" else said.replace("'a'", "'x1'").replace("'b'", "'x2'").replace("'c'", "'x3'")
    with pytest.raises(DataError) as error:
        fit(KINDS[kind](columns), columns)
    assert str(error.value).startswith("data: ")
    assert renamed in str(error.value)
    assert "target." not in str(error.value), "a remedy for a file"


@pytest.mark.parametrize("name", NOTED)
def test_fit_names_spoiling_columns(name, capsys):
    columns, said = NOTED[name]
    fit(pandas.DataFrame(columns), columns)
    printed = capsys.readouterr().err
    for part in said:
        assert part in printed or part.startswith("target."), printed
    assert "target." not in printed


def test_fit_checks_no_context_and_no_image(capsys):
    frame = pandas.DataFrame({"a": A, "kind": RNG.choice([0, 1], COUNT), "twice": 2 * A})
    flow = Flow(StandardNormal(1), LowRankAffine(1, rank=0))
    flowlab.fit(flow, frame, context=["kind", "twice"], steps=1, progress="off")
    base = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(2, 2), 1.0), 2)
    flow = Flow(base, AffineScalar(torch.nn.Parameter(torch.zeros(2, 2))))
    flowlab.fit(flow, torch.zeros(20, 2, 2), steps=1, progress="off")
    assert capsys.readouterr().err == ""


def test_fit_refuses_values_that_the_dtype_does_not_hold():
    far = {"a": 1e9 + A, "b": B}
    with pytest.raises(DataError, match=r"data: column 'a' .*float32 rounds away; use flow\.double\(\)"):
        fit(pandas.DataFrame(far), far)
    with pytest.raises(DataError, match=r"column 'a' reaches 1e\+60 .*float32 does not hold; .* or flow\.double\(\)"):
        fit(pandas.DataFrame({"a": np.where(A > 2, 1e60, A), "b": B}), far)
    with pytest.raises(DataError, match=r"data: 2 row\(s\) of 5 columns; .*use array\.T"):
        fit(torch.randn(2, 5), range(5), validation=None)


def test_fit_clips_and_warms_up_as_a_file_does():
    """The first steps move the parameters as those of target=file would; data without a table have the defaults."""
    rate, settings = 0.01, training_settings("file")["optimizer"]
    points = torch.randn(500, 2)
    for data, steps, expected in (
        (points, 4000, rate / settings["warmup"]),
        (points, 100, rate / 10),
        (Banana(), 100, rate),
        (torch.utils.data.DataLoader(points, batch_size=50), 100, rate),
    ):
        rows = fit(data, range(2), steps=steps, log_every=1, max_time=1e-9, validation=None, compile="false").rows
        assert rows[1]["lr"] == pytest.approx(expected)
    far = fit(1e3 * points, range(2), steps=1, validation=None).rows[1]
    assert far["grad_norm"] <= settings["clip"]
    assert fit(1e3 * points, range(2), steps=1, validation=None, optimizer=Adam()).rows[1]["grad_norm"] > 100


def test_fit_prints_notes(tmp_path, capsys):
    target = FileTarget(write(tmp_path, a=np.where(np.arange(COUNT) == 41, -1e6, A), b=B))
    flowlab.fit(Flow(StandardNormal(2), LowRankAffine(2)), target, steps=1, progress="off")
    assert "column 'a' holds -1e+06 in row 42" in capsys.readouterr().err


def test_robust_without_standardization_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="target.robust=true: is a standardization; use target.standardize=true"):
        FileTarget(write(tmp_path, a=A), robust=True, standardize=False)


def test_robust_standardization_keeps_an_outlier_from_spoiling_the_rest(tmp_path):
    path = write(tmp_path, a=np.where(np.arange(COUNT) == 41, 1e6, A), b=B)
    words = ("target=file", f"target.path={path}", "target.robust=true", "target.split_seed=2")
    run = train(compose(*words, "max_steps=1500", "trainer.progress=off"), tmp_path / "run")
    assert run.target.rows("train", 0, 0).max() == 1e6
    assert run.result["nll"] < 3.2, "a standard normal in two dimensions has 2.84"
    ends = load_run(tmp_path / "run").flow.sample((4000,))[:, 0].detach().quantile(torch.tensor([0.05, 0.95]))
    torch.testing.assert_close(ends, torch.tensor([-1.64, 1.64]), atol=0.5, rtol=0)
    assert isinstance(stages(load_run(tmp_path / "run").flow.bijector)[-1], RobustScale)


def test_robust_scale_is_a_bijector(dtype):
    bijector = RobustScale(shift=torch.tensor([1.0, -2.0]), scale=torch.tensor([0.5, 3.0])).to(dtype)
    x = torch.linspace(-60, 60, 241, dtype=torch.float64).to(dtype)[:, None].expand(-1, 2).requires_grad_()
    y, log_det = bijector.forward_and_log_det(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    back, inverse_log_det = bijector.inverse_and_log_det(y)
    torch.testing.assert_close(log_det, slope.log())
    torch.testing.assert_close(inverse_log_det, -log_det, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(back, x, atol=1e-4, rtol=1e-5)
    low, high = bijector.invertible(dtype)
    assert bijector.forward(torch.tensor([low, high], dtype=dtype)[:, None]).isfinite().all()
