"""FlowModule in a Lightning Trainer, with callbacks, loggers, precision and strategies."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

from flowlab import ConfigError, Flow, FlowModule, StandardNormal
from flowlab.bijectors import Bijector, LowRankAffine
from flowlab.optimizers import AdamW

QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}


def points(count=256, seed=0):
    return 3 + 2 * torch.randn(count, 2, generator=torch.Generator().manual_seed(seed))


def new_flow():
    return Flow(StandardNormal(2), LowRankAffine(2, generator=torch.Generator().manual_seed(0)))


class Shifted(Bijector):
    """y = x + w context."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2, 2))

    def forward_and_log_det(self, x, context=None):
        return x + context @ self.weight, torch.zeros_like(x)

    def inverse_and_log_det(self, y, context=None):
        return y - context @ self.weight, torch.zeros_like(y)


def test_three_epochs_with_callbacks_and_a_logger(tmp_path):
    flow, training, held_out = new_flow(), points(), points(seed=1)
    checkpoint = ModelCheckpoint(tmp_path / "checkpoints", monitor="val_nll")
    trainer = pl.Trainer(
        max_epochs=3,
        callbacks=[EarlyStopping("val_nll"), checkpoint],
        logger=CSVLogger(tmp_path, name="logs", version=""),
        log_every_n_steps=1,
        **QUIET,
    )
    module = FlowModule(flow, lr=0.1)
    trainer.fit(module, DataLoader(training, batch_size=64, shuffle=True), DataLoader(held_out, batch_size=64))
    assert (trainer.current_epoch, trainer.global_step) == (3, 12)
    logged = pandas.read_csv(tmp_path / "logs/metrics.csv")
    nll = logged["val_nll"].dropna().tolist()
    assert len(nll) == 3
    assert len(logged["train_nll"].dropna()) == 12
    assert nll[-1] < nll[0]
    assert nll[-1] == pytest.approx(-flow.log_prob(held_out).mean().item(), rel=1e-5)
    saved = torch.load(checkpoint.best_model_path, weights_only=True)["state_dict"]
    best = new_flow()
    best.load_state_dict({name.removeprefix("flow."): value for name, value in saved.items()})
    assert -best.log_prob(held_out).mean().item() == pytest.approx(min(nll), rel=1e-5)


def test_equals_a_plain_torch_loop():
    flow, by_hand, training = new_flow(), new_flow(), points()
    loader = DataLoader(training, batch_size=64)
    trainer = pl.Trainer(max_epochs=3, logger=False, enable_checkpointing=False, **QUIET)
    trainer.fit(FlowModule(flow, optimizer=AdamW(lr=0.05, weight_decay=0.1)), loader)
    optimizer = torch.optim.AdamW(by_hand.parameters(), lr=0.05, weight_decay=0.1)
    for _ in range(3):
        for x in loader:
            optimizer.zero_grad()
            (-by_hand.log_prob(x).mean()).backward()
            optimizer.step()
    for name, tensor in by_hand.state_dict().items():
        torch.testing.assert_close(flow.state_dict()[name], tensor, rtol=1e-5, atol=1e-6, msg=name)


def test_early_stopping_callback_stops_training():
    trainer = pl.Trainer(
        max_epochs=50,
        callbacks=[EarlyStopping("val_nll", patience=1)],
        logger=False,
        enable_checkpointing=False,
        **QUIET,
    )
    loader = DataLoader(points(), batch_size=256)
    trainer.fit(FlowModule(new_flow(), "sgd", lr=1e-12), loader, loader)
    assert trainer.current_epoch < 5


def test_mixed_precision_keeps_the_parameters():
    flow = new_flow()
    trainer = pl.Trainer(max_epochs=3, precision="bf16-mixed", logger=False, enable_checkpointing=False, **QUIET)
    trainer.fit(FlowModule(flow, lr=0.1), DataLoader(points(), batch_size=64))
    assert {parameter.dtype for parameter in flow.parameters()} == {torch.float32}
    assert flow.log_prob(points()).mean() > new_flow().log_prob(points()).mean()


@pytest.mark.parametrize("kind", ["x", "(x,)", "(x, context)"])
def test_batches_of_every_kind(kind):
    x, context = points(), torch.randn(256, 2)
    if kind == "(x, context)":
        data, flow = TensorDataset(x + 3 * context, context), Flow(StandardNormal(2), LowRankAffine(2) | Shifted())
    else:
        data, flow = (x if kind == "x" else TensorDataset(x)), new_flow()
    loader = DataLoader(data, batch_size=64)
    module = FlowModule(flow, lr=0.1)
    trainer = pl.Trainer(max_epochs=8, logger=False, enable_checkpointing=False, **QUIET)
    trainer.fit(module, loader, loader)
    (tested,) = trainer.test(module, loader, verbose=False)
    given = (x + 3 * context, context) if kind == "(x, context)" else (x,)
    assert tested["test_nll"] == pytest.approx(-module(*given).mean().item(), rel=1e-5)
    if kind == "(x, context)":
        weight = flow.bijector.parts[1].weight if hasattr(flow.bijector, "parts") else None
        assert weight.diag().min() > 0.5, "the flow ignores the context"


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(ConfigError, match="optimizer='adan': no such optimizer; did you mean 'adam'"):
        FlowModule(new_flow(), "adan")
    with pytest.raises(ConfigError, match="lr=0.1: the optimizer has a learning rate already"):
        FlowModule(new_flow(), AdamW(), lr=0.1)


SCRIPT = """
import json, sys
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader
from flowlab import Flow, FlowModule, StandardNormal
from flowlab.bijectors import LowRankAffine

torch.set_num_threads(1)
x = 3 + 2 * torch.randn(256, 2, generator=torch.Generator().manual_seed(0))
flow = Flow(StandardNormal(2), LowRankAffine(2, generator=torch.Generator().manual_seed(0)))
options = dict(accelerator="cpu", enable_progress_bar=False, enable_model_summary=False, logger=False)
trainer = pl.Trainer(max_epochs=2, strategy="ddp", devices=2, enable_checkpointing=False, **options)
trainer.fit(FlowModule(flow, "sgd", lr=0.05), DataLoader(x, batch_size=32), DataLoader(x, batch_size=32))
numbers = torch.cat([parameter.detach().flatten() for parameter in flow.parameters()])
with open(f"{sys.argv[1]}/{trainer.global_rank}.json", "w") as file:
    json.dump({"numbers": numbers.tolist(), "val_nll": float(trainer.callback_metrics["val_nll"])}, file)
"""


def test_two_processes_train_the_same_flow(tmp_path):
    """Two processes with 32 points each take the same steps as one process with 64 points."""
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    by_hand, x = new_flow(), points()
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.05)
    for epoch in range(2):
        order = torch.randperm(256, generator=torch.Generator().manual_seed(epoch)).reshape(4, 64)
        for rows in order:
            optimizer.zero_grad()
            (-by_hand.log_prob(x[rows]).mean()).backward()
            optimizer.step()
    expected = torch.cat([parameter.detach().flatten() for parameter in by_hand.parameters()])
    torch.testing.assert_close(torch.tensor(first["numbers"]), expected, rtol=1e-4, atol=1e-5)
    assert first["val_nll"] == pytest.approx(-by_hand.log_prob(x).mean().item(), rel=1e-4)
