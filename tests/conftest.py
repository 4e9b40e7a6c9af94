import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread_and_a_seed():
    """Two cores are shared with subprocesses; and no test depends on what ran before it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture
def iris(tmp_path):
    """A file of the user's: four columns, 150 rows."""
    from sklearn.datasets import load_iris  # takes as long to import as torch, and few tests need it

    path = tmp_path / "iris.csv"
    load_iris(as_frame=True).data.to_csv(path, index=False)
    return path
