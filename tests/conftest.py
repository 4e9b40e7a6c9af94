import os

import numpy as np
import pandas
import pytest
import torch


@pytest.fixture(autouse=True)
def _set_one_thread_and_a_seed():
    """Leave cores to subprocesses, and make each test independent of the tests before it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _share_a_compiler_cache(tmp_path_factory):
    """Compile into one temporary directory for all workers: each new one begins with 10 s for the headers of torch."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(shared / "inductor"))
        yield


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture
def iris(tmp_path):
    """A CSV file of four columns and 150 rows."""
    from sklearn.datasets import load_iris  # imported here because the import is as slow as torch and few tests need it

    path = tmp_path / "iris.csv"
    load_iris(as_frame=True).data.to_csv(path, index=False)
    return path


def _make_table(rows, seed=0):
    """A table with a column of every kind."""
    rng = np.random.default_rng(seed)
    group = rng.choice(["a", "b", "c"], rows)
    shift = (group == "b") * 1.0
    return pandas.DataFrame(
        {
            "income": np.exp(rng.normal(size=rows) + shift),
            "tail": rng.standard_t(2.5, rows).astype("float32"),
            "share": rng.beta(0.5, 0.5, rows).round(3),
            "visits": rng.poisson(2 + shift),
            "hour": rng.normal(23, 3, rows) % 24,
            "smoker": rng.random(rows) < 0.3,
            "score": rng.integers(1, 6, rows).astype("int16"),
            "size": pandas.Categorical(rng.choice(["S", "M", "L"], rows), ["S", "M", "L"], ordered=True),
            "age": rng.integers(18, 80, rows),
            "group": group,
        }
    )


@pytest.fixture(scope="session")
def make_table():
    """A function that makes a table, given the number of its rows and a seed."""
    return _make_table


@pytest.fixture
def interrupt(monkeypatch):
    """A function that calls another, and interrupts its training before the first call of steps from a given step."""
    from flowlab.training.loop import Loop

    usual = Loop._call

    def interrupt_at(step, function, *arguments, **options):
        def call_or_stop(loop):
            if loop.step >= step:
                raise KeyboardInterrupt
            return usual(loop)

        with monkeypatch.context() as patch:
            patch.setattr(Loop, "_call", call_or_stop)
            with pytest.raises(KeyboardInterrupt):
                function(*arguments, **options)

    return interrupt_at
