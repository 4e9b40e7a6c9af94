"""Adam as the configuration has it; its schedule is tested with the training step."""

import torch
from flowlab.training.optimizer import build_optimizer, set_learning_rate

from flowlab import compose


def test_adam_has_the_numbers_of_the_configuration():
    config = compose("optimizer.lr=0.3", "optimizer.betas=[0.7,0.8]", "optimizer.eps=1e-3", "max_steps=10")
    optimizer = build_optimizer(config.optimizer, [torch.nn.Parameter(torch.zeros(2))])
    (group,) = optimizer.param_groups
    assert (group["lr"], group["betas"], group["eps"]) == (0.3, (0.7, 0.8), 1e-3)
    set_learning_rate(optimizer, config, 5)
    assert group["lr"] == 0.15
