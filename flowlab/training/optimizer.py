"""The optimizer of a configuration, and its learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from flowlab.config.schemas import AdamConfig, Config


def build_optimizer(config: AdamConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Adam:
    return torch.optim.Adam(
        parameters, lr=config.lr, betas=(config.betas[0], config.betas[1]), eps=config.eps, fused=True
    )


def learning_rate(config: AdamConfig, step: int, max_steps: int) -> float:
    """The learning rate of a step: constant, or a half cosine from lr at step 0 to 0 at `max_steps`.

    Reference:
        | SGDR: Stochastic Gradient Descent with Warm Restarts (Ilya Loshchilov, Frank Hutter, 2016)
        | https://arxiv.org/abs/1608.03983
    """
    if config.schedule == "constant":
        return config.lr
    return 0.5 * config.lr * (1 + math.cos(math.pi * step / max_steps))


def set_learning_rate(optimizer: torch.optim.Optimizer, config: Config, step: int) -> None:
    """Give an optimizer the learning rate of a step."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(config.optimizer, step, config.max_steps)
