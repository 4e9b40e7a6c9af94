"""Settings of null get their values from the number of rows and columns, once, and a run records them."""

import numpy as np
import pytest

import flowlab
from flowlab.config.compose import compose
from flowlab.config.errors import ConfigError
from flowlab.config.schema import flat
from flowlab.sweeps.train_many import train_many
from flowlab.training.build import build
from flowlab.training.follow_data import follow_data
from flowlab.training.resume import complete

NULL = ["max_steps=null", "batch_size=null", "trainer.validate_every=null", "flow=tabular", "optimizer=tabular"]
KEYS = ["max_steps", "batch_size", "trainer.validate_every", "flow.depth", "flow.hidden", "optimizer.weight_decay"]
QUIET = ["trainer.progress=off", "trainer.max_time=null"]


class Rows:
    """As much of a target as the rules read."""

    def __init__(self, train_size, dim):
        self.train_size, self.dim = train_size, dim


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "rows.csv"
    x = np.random.default_rng(0).normal(size=(200, 2)) @ [[1.0, 0.5], [0.0, 2.0]]
    np.savetxt(path, x, delimiter=",", header="a,b", comments="")
    return ["target=file", f"target.path={path}", *NULL, *QUIET]


@pytest.mark.parametrize("rows", [2, 100, 3000, 10**5, 10**6, None])
@pytest.mark.parametrize("columns", [1, 5, 64])
def test_every_setting_gets_a_value_that_trains(rows, columns):
    values = flat(follow_data(compose(*NULL), Rows(rows, columns)).to_dict())
    for key in KEYS:
        assert values[key] is not None, key
        assert compose(*NULL, f"{key}={values[key]}"), "it is in the range of the key"
    assert 1000 <= values["max_steps"] <= 20_000
    assert values["trainer.validate_every"] <= 500
    again = follow_data(compose(*NULL), Rows(rows, columns))
    assert follow_data(again, Rows(5, 5)) == again, "values stay as they are"


def test_small_tables_have_small_flows_and_much_decay():
    small, large = (follow_data(compose(*NULL), Rows(rows, 10)) for rows in (100, 10**6))
    assert small.flow.depth < large.flow.depth
    assert small.flow.hidden[0] < large.flow.hidden[0]
    assert small.optimizer.weight_decay == 1
    assert large.optimizer.weight_decay < 1e-4
    assert small.batch_size < large.batch_size


@pytest.mark.parametrize("word", ["flow.bins=null", "trainer.log_every=null", "optimizer.clip=0"])
def test_other_settings_need_a_value(word):
    with pytest.raises(ConfigError, match=word.partition("=")[0]):
        compose(*NULL, word)


def test_a_run_records_the_values_and_completes_from_nulls(table, tmp_path, interrupt):
    config = compose(*table, "max_steps=60")
    run = flowlab.train(config, tmp_path / "run")
    expected = follow_data(config, run.target)
    assert flowlab.load_run(run.directory).config.flow == expected.flow
    assert run.config.optimizer == expected.optimizer
    assert run.config.batch_size == 128
    assert complete(config, run.directory).result == run.result, "it is done"
    with pytest.raises(ConfigError, match="another configuration"):
        complete(compose(*table, "max_steps=60", "flow.depth=4"), run.directory)
    interrupt(20, flowlab.train, compose(*table, "max_steps=60", "trainer.checkpoint_every=10"), tmp_path / "stopped")
    again = complete(compose(*table, "max_steps=60", "trainer.checkpoint_every=10"), tmp_path / "stopped")
    assert again.result["nll"] == run.result["nll"]


def test_the_jobs_of_a_sweep_have_the_values_too(table, tmp_path):
    configs = [compose(*table, "max_steps=20", f"seed={seed}") for seed in (0, 1)]
    runs = train_many(configs, [tmp_path / "0", tmp_path / "1"], say=lambda line: None)
    assert [run.config.flow.depth for run in runs] == [1, 1]
    assert all(run.done for run in runs)
    assert runs == train_many(configs, [tmp_path / "0", tmp_path / "1"], say=lambda line: None)


def test_the_start_counts_as_a_validation(table, tmp_path):
    run = flowlab.train(
        compose(*table, "optimizer.lr=0.5", "max_steps=40", "trainer.validate_every=20"), tmp_path / "run"
    )
    target, config = run.target, run.config
    assert run.result["best_step"] == 0, run.metrics
    start = build(config).flow
    held_out = target.rows("test", 0, 0)
    assert run.result["nll"] == pytest.approx(-start.log_prob(held_out).mean().item(), abs=1e-5)
