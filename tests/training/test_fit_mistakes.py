"""flowlab.fit reports a mistake in its arguments before it writes anything."""

import shutil

import pandas
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from flowlab import ConfigError, Flow, StandardNormal, fit
from flowlab.bijectors import LowRankAffine, SmoothPReLU
from flowlab.objectives import ReverseKL
from flowlab.optimizers import SGD
from flowlab.system.files import lock_directory
from flowlab.targets import Banana, Gaussian

QUIET = {"progress": "off"}


def new_flow(dim=2):
    return Flow(StandardNormal(dim), LowRankAffine(dim) | SmoothPReLU(0.8))


class Regression(torch.nn.Module):
    """A module that is not a flow."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 1)

    def loss(self, x):
        return self.linear(x).square().mean()


def nan_in(x):
    x = x.clone()
    x[3, 1] = torch.nan
    return x


X = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((new_flow, X), {"foo": 1}, "foo: no such key"),
        ((new_flow, X), {"log_evry": 1}, "log_evry: no such key; did you mean 'log_every'"),
        ((new_flow, X), {"log_every": 0}, "log_every=0: must be at least 1"),
        ((new_flow, X), {"steps": 0}, "steps=0: must be a whole number, at least 1"),
        ((new_flow, X), {"steps": 1.5}, "steps=1.5: must be a whole number"),
        ((new_flow, X), {"batch_size": -1}, "batch_size=-1: must be a whole number, at least 1"),
        ((new_flow, X), {"lr": 0}, "lr=0.0: must be greater than 0"),
        ((new_flow, X), {"lr": 0.1, "optimizer": SGD()}, "lr=0.1: the optimizer has a learning rate already"),
        ((new_flow, X), {"optimizer": "adan"}, "optimizer='adan': no such optimizer; did you mean 'adam'"),
        ((new_flow, X), {"objective": "reverse_kl"}, "objective=reverse_kl: needs a Target as data"),
        ((new_flow, X), {"objective": "kl"}, "objective='kl': no such objective; allowed"),
        ((new_flow, X), {"metrics": ["kll"]}, "metrics='kll': no such metric; did you mean 'kl'"),
        ((new_flow, X), {"precision": "half"}, "precision='half': .*bf16-mixed"),
        ((new_flow, X), {"accelerator": "gpu"}, "accelerator='gpu': fit trains in this process.*flow.to"),
        ((new_flow, X), {"devices": 2}, "devices=2: fit trains in this process.*flowlab.train"),
        ((new_flow, X), {"validation": 1.5}, "validation=1.5: of 20 points it leaves none"),
        ((new_flow, X), {"validation": 1.0}, "validation=1.0: of 20 points"),
        ((new_flow, X[:2]), {}, "validation=0.1: of 2 points it leaves none"),
        ((new_flow, X), {"validation": X[:1]}, "validation: holds 1 point; give at least 2"),
        ((new_flow, X), {"validation": nan_in(X)}, "validation: 1 of 20 rows hold NaN or infinity"),
        ((new_flow, nan_in(X)), {}, "data: 1 of 20 rows hold NaN or infinity; remove or fill them"),
        ((new_flow, X[:0]), {}, r"data: of shape \(0, 2\): holds no points"),
        ((new_flow, torch.tensor(1.0)), {}, r"data: of shape \(\): holds no points"),
        ((new_flow, X[:, :1]), {}, r"fit: points of shape .* do not hold events of shape \(2,\)"),
        ((new_flow, X[:, 0]), {}, r"fit: points of shape .* do not hold events of shape \(2,\)"),
        ((new_flow, "points.csv"), {}, "data: a str that does not hold numbers alone"),
        ((new_flow, pandas.DataFrame({"a": [1.0, 2], "b": ["x", "y"]})), {}, "data: a DataFrame .*select_dtypes"),
        ((new_flow, X), {"context": ["c"]}, "context='c': data has no such column"),
        ((new_flow, X), {"context": X[:5]}, "context: 5 rows for 20 points of data; give one row for each"),
        ((new_flow, X), {"context": nan_in(X)}, "context: 1 of 20 rows hold NaN"),
        ((new_flow, Banana()), {"context": X}, "context: the data give their contexts themselves"),
        ((new_flow, DataLoader(TensorDataset(X[:0]))), {}, "data: the loader gives no batch"),
        ((new_flow, DataLoader(TensorDataset(X))), {"compile": "true"}, "compile=true: the batches of a DataLoader"),
        ((lambda: new_flow(3), Banana()), {}, r"fit: points of shape \(2,\) do not hold events of shape \(3,\)"),
        ((lambda: torch.nn.Linear(2, 2), X), {}, r"fit: Linear is no Flow, and has no method loss\(x\)"),
        ((Regression, X), {"metrics": ["kl"]}, r"metrics=\['kl'\]: are for a Flow; Regression has a loss alone"),
        ((Regression, Gaussian()), {"objective": ReverseKL()}, "objective=reverse_kl: is for a Flow"),
        ((lambda: new_flow().requires_grad_(False), X), {}, "fit: Flow has no parameters to train"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_named(tmp_path, arguments, options, message):
    make, data = arguments
    directory = tmp_path / "directory"
    with pytest.raises(ConfigError, match=message):
        fit(make(), data, **{"steps": 5, "directory": directory, **QUIET, **options})
    assert not directory.exists(), "a directory was created"


def test_a_directory_that_cannot_be_used_is_named(tmp_path):
    fit(new_flow(), X, steps=5, directory=tmp_path / "fit", **QUIET)
    with pytest.raises(ConfigError, match="directory=.*its checkpoint is damaged, or of another module"):
        fit(new_flow(3), torch.randn(20, 3), steps=5, directory=tmp_path / "fit", **QUIET)
    with pytest.raises(ConfigError, match="its checkpoint is damaged, or of another module or optimizer"):
        fit(new_flow(), X, steps=5, optimizer="sgd", directory=tmp_path / "fit", **QUIET)
    copied = shutil.copytree(tmp_path / "fit", tmp_path / "copy")
    (copied / "checkpoints/last.ckpt").write_bytes(b"abc")
    with pytest.raises(ConfigError, match="its checkpoint is damaged"):
        fit(new_flow(), X, steps=5, directory=copied, **QUIET)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="directory=.*file: cannot be made"):
        fit(new_flow(), X, steps=5, directory=tmp_path / "file", **QUIET)
    (tmp_path / "busy").mkdir()
    with lock_directory(tmp_path / "busy"), pytest.raises(ConfigError, match="another process is training"):
        fit(new_flow(), X, steps=5, directory=tmp_path / "busy", **QUIET)


def test_what_is_no_flow_is_refused():
    with pytest.raises(ConfigError, match=r"fit: flow is a Tensor and must be a Flow.*fit\(table, flow=\"tabular\"\)"):
        fit(torch.zeros(10, 2))


def test_vector_of_contexts_is_refused():
    flow = Flow(StandardNormal(2), LowRankAffine(2))
    with pytest.raises(ConfigError, match=r"context of shape \(10,\): give a row for each point.*context\[:, None\]"):
        fit(flow, torch.randn(10, 2), context=torch.zeros(10))
