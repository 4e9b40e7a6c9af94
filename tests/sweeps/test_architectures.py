"""The sweep over architectures compares them at equal size, on every target with an exact density."""

import flowlab
from flowlab.cli.product import list_jobs
from flowlab.config.compose import compose_yaml, parse_overrides
from flowlab.config.registry import option_names
from flowlab.targets.base import ExactTarget
from flowlab.targets.densities.energies import Energy

SETTINGS = compose_yaml(["+sweep=architectures"], hydra_settings=True).hydra.sweeper.params


def used_parameters(flow):
    """The parameters of a flow without the weights that masks hold at 0."""
    masked = sum(int((mask == 0).sum()) for name, mask in flow.named_buffers() if "mask" in name)
    return sum(parameter.numel() for parameter in flow.parameters()) - masked


def is_swept(target):
    """Whether the sweep is for a target: two-dimensional, with points, and no energy: these have their own sweep."""
    exact = isinstance(target, ExactTarget) and target.has_points and target.event_shape == (2,)
    return exact and not isinstance(target, Energy)


def test_every_target_with_an_exact_density_is_in_the_sweep():
    needing_more = ("file", "table", "dataset", "custom", "density", "flow")
    targets = [name for name in option_names("target") if name not in needing_more]
    swept = [name for name in targets if is_swept(flowlab.compose(f"target={name}").target)]
    assert sorted(SETTINGS["target"].split(",")) == sorted(swept)


def test_architectures_have_equally_many_parameters():
    words = [f"{key}={value}" for key, value in SETTINGS.items()] + ["target=banana", "seed=0"]
    jobs = list_jobs(parse_overrides(words))
    swept = {job[0].partition("=")[2] for job in jobs}
    assert len(swept) == len(jobs) >= 8
    assert swept <= set(option_names("flow"))
    counts = [used_parameters(flowlab.compose(*job).flow.build((2,))) for job in jobs]
    assert max(counts) <= 1.1 * min(counts), counts
