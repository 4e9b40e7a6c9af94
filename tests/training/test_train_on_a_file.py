"""Runs on a data file: densities in the units of the file, early stopping, and unchanged data on resume."""

import numpy as np
import pandas
import pytest

from flowlab import ConfigError, compose, load_run, resume, train, train_many


def test_density_is_in_the_units_of_the_file(iris, tmp_path):
    words = ("trainer.progress=off", "target=file", f"target.path={iris}", "max_steps=800", "trainer.validate_every=50")
    run = train(compose(*words), tmp_path / "run")
    assert run.result["nll"] < run.result["gaussian_nll"], "better than a Gaussian with full covariance"
    assert run.result["weights"] == "best"
    assert "kl" not in run.result
    assert run.result["nll_se"] > 0
    test = run.target.rows("test", 0, 0)
    assert -run.flow.log_prob(test).mean().item() == pytest.approx(run.result["nll"], rel=1e-5)
    # Densities are in the units of the file: in millimetres every coordinate costs log 10 more.
    table = pandas.read_csv(iris) * 10
    table.to_csv(iris, index=False)
    larger = train(compose(*words), tmp_path / "larger")
    assert larger.result["nll"] - run.result["nll"] == pytest.approx(4 * np.log(10), abs=0.02)
    assert run.result["gaussian_nll"] + 4 * np.log(10) == pytest.approx(larger.result["gaussian_nll"], rel=1e-4)


def words(path, *more):
    return ("trainer.progress=off", "target=file", f"target.path={path}", "trainer.validate_every=100", *more)


def test_early_stopping_ends_the_run_and_the_best_validation_is_tested(iris, tmp_path):
    run = train(compose(*words(iris, "max_steps=8000", "trainer.patience=4")), tmp_path / "run")
    result, validated = run.result, run.metrics.dropna(subset="nll").set_index("step")["nll"]
    assert result["ended_by"] == "patience"
    assert result["best_step"] == validated.idxmin() == run.checkpoint("best")["global_step"]
    assert result["steps"] == validated.index[-1] == result["best_step"] + 4 * 100 < 8000
    assert run.checkpoint("last")["global_step"] == result["steps"]
    test = run.target.rows("test", 0, 0)
    assert -run.load_flow("best").log_prob(test).mean().item() == pytest.approx(result["nll"], rel=1e-5)
    assert result["nll"] < result["gaussian_nll"], "better than a Gaussian with full covariance"


def test_jobs_of_a_stack_end_each_at_its_own_step(iris, tmp_path):
    def configs():
        changes = ("max_steps=4000", "trainer.patience=2", "dtype=float64")
        return [compose(*words(iris, *changes, f"optimizer.lr={lr}")) for lr in (0.02, 0.002)]

    stacked = train_many(configs(), [tmp_path / name for name in "ab"], say=lambda line: None)
    alone = [train(config, tmp_path / f"alone {number}") for number, config in enumerate(configs())]
    assert stacked[0].result["steps"] != stacked[1].result["steps"]
    for run, expected in zip(stacked, alone, strict=True):
        for name in ("steps", "best_step", "ended_by"):
            assert run.result[name] == expected.result[name], name
        assert run.result["nll"] == pytest.approx(expected.result["nll"], rel=1e-6)
        assert run.checkpoint("last")["global_step"] == run.result["steps"]


def test_run_killed_after_its_patience_was_spent_takes_no_more_steps(iris, tmp_path):
    run = train(compose(*words(iris, "max_steps=8000", "trainer.patience=2")), tmp_path / "run")
    before, rows = run.result, run.metrics
    (run.directory / "status.json").write_text('{"status": "running"}')
    (run.directory / "result.json").unlink()
    resume(run.directory)
    for name in ("steps", "best_step", "ended_by", "nll"):
        assert run.result[name] == before[name], name
    assert run.metrics.equals(rows)


def test_run_that_patience_ended_trains_on_with_more_patience(iris, tmp_path, capfd):
    """It ends at the bits of a run that had the larger patience from the start."""
    options = ("optimizer.schedule=constant", "max_steps=1200", "trainer.validate_every=20", "flow.depth=1")
    patient = train(compose(*words(iris, *options, "trainer.patience=3")), tmp_path / "patient")
    run = train(compose(*words(iris, *options, "trainer.patience=1")), tmp_path / "run")
    ended = run.result["steps"]
    assert run.result["ended_by"] == "patience"
    assert ended < patient.result["steps"]
    why = r"done already.*it ended by trainer\.patience: .* above 1, trains it longer"
    for more in ([], ["max_steps=2000"]):
        with pytest.raises(ConfigError, match=why):
            resume(run.directory, *more)
    with pytest.raises(ConfigError, match=r"trainer\.patience=1: the run has trainer\.patience=1; a larger number"):
        resume(run.directory, "trainer.patience=1")
    assert run.result["steps"] == ended
    longer = resume(run.directory, "trainer.patience=3")
    for name in ("steps", "best_step", "ended_by", "nll"):
        assert longer.result[name] == patient.result[name], name
    assert list(longer.metrics["step"]) == list(patient.metrics["step"])
    assert resume(run.directory, "trainer.patience=null").result["ended_by"] == "max_steps"


def test_run_that_max_time_ended_trains_on_with_more_time(iris, tmp_path):
    run = train(compose(*words(iris, "max_steps=15_000", "flow.depth=1", "trainer.max_time=0.2")), tmp_path / "run")
    steps = run.result["steps"]
    with pytest.raises(ConfigError, match=r"it ended by trainer\.max_time: .* above 0\.2, trains it longer"):
        resume(run.directory, "max_steps=16_000")
    assert resume(run.directory, "trainer.max_time=0.5").result["steps"] > steps
    with pytest.raises(ConfigError, match=r"trainer\.max_time=0\.3: the run has trainer\.max_time=0\.5"):
        resume(run.directory, "trainer.max_time=0.3")


def test_changed_file_is_refused_on_resume(iris, tmp_path):
    words = ("trainer.progress=off", "target=file", f"target.path={iris}", "max_steps=20")
    run = train(compose(*words), tmp_path / "run")
    (run.directory / "status.json").write_text('{"status": "interrupted"}')
    iris.write_text(iris.read_text() + "1,2,3,4\n")
    with pytest.raises(ConfigError, match="has changed"):
        resume(run.directory)
    iris.unlink()
    with pytest.raises(ConfigError, match="no such file"):
        resume(run.directory)
    assert load_run(run.directory).flow is not None, "a flow loads without the data"


def test_files_of_other_dimensions_are_trained(tmp_path):
    for dim in (1, 5):
        path = tmp_path / f"{dim}.npy"
        np.save(path, np.random.default_rng(0).normal(3.0, 2.0, (200, dim)))
        words = ("trainer.progress=off", "target=file", f"target.path={path}", "max_steps=50", "flow.rank=1")
        run = train(compose(*words), tmp_path / f"run{dim}")
        assert np.isfinite(run.result["nll"])


@pytest.mark.parametrize(("dim", "depth"), [(1, 8), (6, 6), (12, 24)])
def test_flow_of_any_depth_learns_a_gaussian_table_in_600_steps(tmp_path, dim, depth):
    draws = np.random.default_rng(0)
    table = draws.normal(size=(2000, dim)) @ draws.normal(size=(dim, dim)) * 10 ** draws.uniform(-2, 2, dim)
    np.save(tmp_path / "table.npy", 5 + table)
    of_table = ("target=file", f"target.path={tmp_path}/table.npy", "trainer.progress=off", "batch_size=256")
    run = train(
        compose(*of_table, "max_steps=600", f"flow.depth={depth}", f"flow.rank={min(2, dim)}"), tmp_path / "run"
    )
    assert run.result["nll"] < run.result["gaussian_nll"] + 0.1


def test_transformed_columns_have_no_absurd_density(tmp_path):
    """No row dominates the test of a flow with default settings, though no column has a heavy tail."""
    draws = np.random.default_rng(7)
    mean, rotation = 2 * draws.normal(size=(3, 9)), np.linalg.qr(draws.normal(size=(9, 9)))[0]
    z = mean[draws.integers(0, 3, 4000)] + draws.normal(size=(4000, 9)) @ (rotation * np.geomspace(0.1, 1, 9))
    curved = [np.log1p(abs(z[:, 0])), np.sqrt(abs(z[:, 1])), np.arctan(z[:, 2]), z[:, 3] + z[:, 0] ** 2]
    columns = [*curved, z[:, 4] * z[:, 5], np.log1p(np.exp(z[:, 6])), *z.T[6:]]
    np.save(tmp_path / "table.npy", np.stack(columns, 1) * 10.0 ** np.arange(-3, 6))
    run = train(compose(*words(tmp_path / "table.npy", "max_steps=600", "trainer.patience=null")), tmp_path / "run")
    assert run.result["doubts"] == []
    assert run.result["nll"] < run.result["gaussian_nll"] - 1
    assert run.result["worst_rows"][0][1] < run.result["nll_median"] + 300
