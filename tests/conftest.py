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
