"""What every coupling and autoregressive preset learns: a heteroscedastic law, and the same in mixed precision."""

import pytest
import torch

import flowlab
from flowlab.config.compose import compose
from flowlab.flows._assemble import assemble
from flowlab.seeding import generator

CONDITIONAL = ["realnvp", "glow", "nsf", "maf", "iaf", "nsf_ar"]
PRESETS = [*CONDITIONAL, "nice", "planar", "radial"]
SMALL = ["flow.depth=2", "trainer.progress=off", "test_size=2000", "validation_size=500", "max_steps=200"]


def spread(c):
    """The standard deviation of y given c."""
    return 0.3 + 0.3 * c.abs()


def draw_law(count, seed):
    """Draw contexts c from N(0, 1) and y from N(c / 2, spread(c)^2)."""
    numbers = torch.Generator().manual_seed(seed)
    c = torch.randn(count, 1, generator=numbers)
    return c, 0.5 * c + spread(c) * torch.randn(count, 1, generator=numbers)


def kl_of_fit(preset):
    """The KL of a fit to the law, in nats: the mean log density ratio on fresh points."""
    c, y = draw_law(8000, 0)
    flow = assemble(compose(f"flow={preset}", *SMALL, "flow.hidden=[32]").flow, (1,), (1,), generator(0, "start"))
    flowlab.fit(flow, y, context=c, steps=800, lr=0.01, seed=0, progress="off")
    c, y = draw_law(20_000, 1)
    with torch.no_grad():
        exact = torch.distributions.Normal(0.5 * c, spread(c)).log_prob(y).squeeze(-1)
        return (exact - flow.log_prob(y, c)).mean().item()


@pytest.mark.parametrize("preset", CONDITIONAL)
def test_fit_learns_a_spread_that_depends_on_a_context(preset):
    assert kl_of_fit(preset) <= 0.02


def test_shifts_alone_cannot_learn_such_a_spread():
    assert kl_of_fit("nice") > 0.05


@pytest.mark.parametrize("preset", PRESETS)
def test_mixed_precision_has_the_kl_of_full_precision(preset, tmp_path):
    words = [f"flow={preset}", *SMALL, "target=two_moons", "optimizer.lr=0.003"]
    full, mixed = (
        flowlab.train(compose(*words, f"trainer.precision={precision}"), tmp_path / precision)
        for precision in ("full", "bf16-mixed")
    )
    assert abs(full.result["kl"] - mixed.result["kl"]) <= 0.02
