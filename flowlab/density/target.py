"""Fit a flow by its name to a distribution with a density: a user's log density, or a target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor

from flowlab.config.compose import compose
from flowlab.config.errors import ConfigError
from flowlab.flows.base import Architecture
from flowlab.objectives.base import Objective, as_objective
from flowlab.targets.base import Target
from flowlab.targets.densities.log_density import LogDensity
from flowlab.targets.densities.support import Support
from flowlab.training.build import Checked, build
from flowlab.training.fit import Fit, fit_module
from flowlab.training.follow_data import follow_data


def fit_target(
    flow: str | Architecture,
    target: Target | None = None,
    *,
    log_density: Callable[[Tensor], Tensor] | None = None,
    dim: int | None = None,
    support: Any = None,
    objective: str | Objective | None = None,
    steps: int = 2000,
    dtype: str = "float32",
    seed: int = 0,
    **settings: Any,
) -> Fit:
    """Build the flow of a name and train it: as `target=density` on the command line, in memory.

    Arguments:
        flow: a name such as "nsf" or "realnvp"; or settings, as `flowlab.compose("flow=nsf", "flow.depth=4").flow`.
        target: a Target, if there is no log density.
        log_density, support, objective, steps, settings: see `flowlab.fit`.
        dim: the number of coordinates; None counts the parts of a support.
        dtype: the flow's dtype, float32 or float64.
        seed: the seed of the initial parameters and the minibatches.

    Raises:
        ConfigError: a setting cannot be used, or the dimension is unknown.
        DivergedError: the loss stopped being finite.
    """
    if target is None:
        assert log_density is not None
        target = LogDensity(log_density, _dimension(flow, dim, support), support)
    elif given := next((name for name, value in (("dim", dim), ("support", support)) if value is not None), None):
        raise ConfigError(f"{given}: belongs to log_density; a Target names its own; leave it out")
    goal = as_objective(objective or ("maximum_likelihood" if target.has_points else "reverse_kl"))
    name = [f"flow={flow}"] if isinstance(flow, str) else []
    config = compose(*name, f"dtype={dtype}", f"seed={seed}")
    config = replace(config, flow=config.flow if name else flow, objective=goal, max_steps=steps)
    config = follow_data(config, target)
    made = build(config, checked=Checked(config, target, None)).flow
    return fit_module(made, target, objective=goal, steps=steps, seed=seed, **settings)


def _dimension(flow: str | Architecture, dim: int | None, support: Any) -> int:
    """The number of coordinates, as given or as the support says."""
    found = Support.count(support) if dim is None else dim
    if found is None:
        name = flow if isinstance(flow, str) else flow.name
        raise ConfigError(
            f"dim: the number of coordinates is unknown; give it, as in fit(flow={name!r}, log_density=f, dim=3), or "
            "give a support with one part for each coordinate"
        )
    return found
