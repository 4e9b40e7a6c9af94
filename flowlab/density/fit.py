"""`flowlab.fit`: train a module in place, or learn a table, a target or a log density by the name of a flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

from torch import Tensor, nn

from flowlab.config.errors import ConfigError
from flowlab.density.table import Density, fit_table
from flowlab.density.target import fit_target
from flowlab.flows.base import Architecture
from flowlab.targets.base import Target
from flowlab.training.fit import Fit, fit_module


@overload
def fit(flow: nn.Module, data: Any = None, **settings: Any) -> Fit: ...
@overload
def fit(*, flow: str | Architecture, log_density: Callable[[Tensor], Tensor], **settings: Any) -> Fit: ...
@overload
def fit(target: Target, /, *, flow: str | Architecture, **settings: Any) -> Fit: ...
@overload
def fit(data: Any, /, *, flow: str | Architecture, **settings: Any) -> Density: ...
def fit(first: Any = None, /, data: Any = None, *, flow: Any = None, **settings: Any) -> Fit | Density:
    """Train a flow, or any module with a `loss`, in place; or build a flow by its name and train it.

    `fit(table, flow="tabular", context=["age"])` returns a Density, which scores and draws rows of the table. See
    `flowlab.density.table.fit_table` for its arguments; the others below are for modules.

    `fit(flow, log_density=f)` learns a distribution that is given by a log density alone, such as a posterior, by the
    reverse KL divergence. Its metrics are elbo and elbo_se, the ELBO in nats with its standard error.

    `fit(flow="nsf", log_density=f, dim=2)` does the same with a flow by its name, and `fit(target, flow="nsf")` learns
    a Target. The result's `flow` is the trained flow. A support with a part for each coordinate replaces `dim`. See
    `flowlab.density.target.fit_target`; its other arguments are those below.

    The loop and its numbers equal `flowlab.train` with the same settings. After training on finite data the
    module has the weights of the best validation (early stopping, see `patience`), otherwise the last ones.

    Arguments:
        flow: a Flow; or a module whose method `loss(x)`, or `loss(x, context)`, gives a number to minimize.
            A loss with random numbers is `loss(x, noise)`, and the module has `draw_noise(x, generator)`.
        data: points of shape (n, *event) as a tensor, numpy array or DataFrame; a Target; or a DataLoader of batches x
            or (x, context).
        log_density: instead of data, a function by operations of torch. It gives log densities in nats, up to a
            constant, of shape (n,), for points of shape (n, d); see `flowlab.targets.LogDensity`.
        support: where the density is positive, a constraint of `torch.distributions`, or a list of one for each
            coordinate; None: everywhere. The result's `flow` ends with a fixed map onto it.
        context: what the points are conditioned on, of shape (n, c); for a DataFrame also the names of its columns.
        validation: the fraction of the points that is held out; or held-out data of any of the kinds above; or None.
            A target draws its own, and a fraction holds nothing of a DataLoader out.
        steps: optimizer steps.
        batch_size: points per step; a DataLoader has its own.
        lr: learning rate; None is the optimizer's default.
        optimizer: a name, as "adam", "adamw" or "sgd", or an object of `flowlab.optimizers`. By name it has the clip
            and the warm-up of `target=file` for the density of points. The warm-up takes at most a tenth of the steps.
        objective: a name, as "maximum_likelihood" or "reverse_kl", or an object of `flowlab.objectives`. None is
            reverse_kl for a log density, and maximum_likelihood for data.
        seed: the seed of the minibatches and the split.
        metrics: further metrics by name, of a Flow.
        directory: write metrics.csv and checkpoints there. A call with the same arguments then resumes, to the same
            bits unless the data are a DataLoader, which begins again.
        settings: keys of `conf/trainer`, as log_every, validate_every, patience, precision, compile and progress.

    Before it trains, it prints notes on columns and rows that spoil a fit, as for `target=file`.

    Raises:
        ConfigError: a setting or the data cannot be used, or the density of the points is infinite.
        DivergedError: the loss stopped being finite; the module keeps the last finite parameters.

    Example:
        >>> import torch, flowlab
        >>> from flowlab import Flow, StandardNormal
        >>> from flowlab.bijectors import LowRankAffine
        >>> flow = Flow(StandardNormal(2), LowRankAffine(2))
        >>> x = 3 + torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
        >>> result = flowlab.fit(flow, x, steps=400, lr=0.1, progress="off")
        >>> result.steps, bool(flow.log_prob(x).mean() > -3)
        (400, True)
        >>> from torch.distributions import Gamma, constraints
        >>> flow = Flow(StandardNormal(1), LowRankAffine(1))
        >>> log_density = lambda x: Gamma(3.0, 2.0).log_prob(x).sum(-1)
        >>> positive = constraints.positive
        >>> result = flowlab.fit(flow, log_density=log_density, support=positive, steps=400, lr=0.05, progress="off")
        >>> bool((result.flow.sample((1000,)) > 0).all())
        True
        >>> both = lambda x: Gamma(3.0, 2.0).log_prob(x[:, 0]) - x[:, 1].square() / 2
        >>> result = flowlab.fit(flow="nsf", log_density=both, support=["positive", "real"], steps=5, progress="off")
        >>> result.flow.sample((1000,)).shape
        torch.Size([1000, 2])
        >>> table = flowlab.datasets.load("galaxies", subset=True)[["redshift", "u"]]
        >>> density = flowlab.fit(table, flow="tabular", steps=200, progress="off")
        >>> density.sample(2).columns.tolist(), density.log_prob(table).shape
        (['redshift', 'u'], (2000,))
    """
    module, points = (first, data) if flow is None else (flow, data if first is None else first)
    if not isinstance(module, str | Architecture):
        for name in ("dim", "dtype"):
            if name in settings:
                raise ConfigError(f"{name}: is for a flow by its name; a module has its own; leave it out")
        return fit_module(module, points, **settings)
    if settings.get("log_density") is not None:
        if points is not None:
            raise ConfigError("log_density: trains without data; leave out one of the two")
        return fit_target(module, **settings)
    if isinstance(points, Target):
        return fit_target(module, points, **settings)
    return fit_table(points, module, **settings)
