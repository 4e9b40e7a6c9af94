import pytest
import torch


@pytest.fixture(autouse=True)
def _set_one_thread_and_a_seed():
    """Leave cores to subprocesses, and make each test independent of the tests before it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


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
