"""The target of a table by its name, from the rows that flowlab ships."""

import numpy as np
import pandas
import pytest

import flowlab
from flowlab.config.errors import DataError
from flowlab.datasets import load
from flowlab.targets.dataset import with_noise

SUBSET = ["target=dataset", "target.dataset=sp500", "target.subset=true"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_it_has_the_rows_of_the_table(cache):
    target, table = flowlab.compose(*SUBSET).target.build(), load("sp500", subset=True)
    assert target.columns == list(table.columns)
    rows = np.concatenate([target.rows(split, 0, 0, None).double() for split in ("train", "validation", "test")])
    np.testing.assert_allclose(np.sort(rows, 0), np.sort(table.to_numpy(), 0), rtol=1e-6, atol=1e-7)
    assert target.train_size == len(table) - 2 * round(len(table) / 10)
    assert flowlab.compose(*SUBSET).target.build().fingerprint == target.fingerprint
    assert len(list(cache.rglob("*.csv"))) == 1


def test_its_run_takes_the_options_that_suit_it():
    config = flowlab.compose(*SUBSET)
    assert (config.flow.name, config.optimizer.name, config.max_steps) == ("tabular", "adamw", None)
    chosen = flowlab.compose(*SUBSET, "flow=maf", "optimizer=adam", "max_steps=7")
    assert (chosen.flow.name, chosen.optimizer.name, chosen.max_steps) == ("autoregressive", "adam", 7)
    assert flowlab.compose("target=banana").flow.name != "tabular"


def test_whole_numbers_alone_get_noise():
    table = pandas.DataFrame({"count": np.arange(100.0), "real": np.linspace(0, 1, 100)})
    noisy = with_noise(table, 0)
    assert (noisy["real"] == table["real"]).all()
    assert (np.floor(noisy["count"]) == table["count"]).all()
    assert (noisy["count"] % 1).nunique() == 100
    assert with_noise(table, 0).equals(noisy)
    assert not with_noise(table, 1).equals(noisy)


def test_a_table_that_is_not_there_is_refused(cache):
    for words, message in (
        (["target.dataset=galaxy"], "no such table"),
        (["target.dataset=magic"], "download=True"),
        (["target.dataset=magic", "target.subset=true"], "ships no rows"),
    ):
        with pytest.raises(DataError, match=message):
            flowlab.compose("target=dataset", *words).target.build()
    assert not cache.exists() or not list(cache.rglob("*.csv"))
