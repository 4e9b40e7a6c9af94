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
