import pytest
import torch

from flowlab import ConfigError, compose
from flowlab.distributed.devices import check_devices, resolve_device


@pytest.mark.parametrize(
    ("accelerator", "usable", "device"),
    [
        ("cpu", True, "cpu"),
        ("cpu", False, "cpu"),
        ("gpu", True, "cuda:3"),
        ("gpu", False, "cuda:3"),  # refused by check_devices
        ("auto", True, "cuda:3"),
        ("auto", False, "cpu"),
    ],
)
def test_the_accelerator_gives_the_device_of_a_rank(accelerator, usable, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: usable)
    assert resolve_device(accelerator, local_rank=3) == torch.device(device)


def test_missing_gpus_are_refused(monkeypatch):
    trainer = compose("trainer=ddp", "trainer.devices=4").trainer
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"trainer\.accelerator=gpu: no GPU .* use trainer\.accelerator=cpu"):
        check_devices(trainer)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=r"trainer\.devices=4: .* only 2 GPUs; use trainer\.devices=2 or fewer"):
        check_devices(trainer)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    check_devices(trainer)
