"""The layers of the mlp architecture, and its initializations."""

import pytest
import torch

import flowlab
from flowlab.bijectors import LowRankAffine, PReLU, Sigmoid, SmoothPReLU, Tanh, stages
from flowlab.config.compose import compose
from flowlab.config.errors import ConfigError
from flowlab.flows._assemble import assemble
from flowlab.flows._initialize import cover_
from flowlab.flows.mlp import MLP
from flowlab.seeding import generator
from flowlab.targets import Checkerboard
from flowlab.training.build import build

ACTIVATIONS = {"prelu": PReLU, "smooth_prelu": SmoothPReLU, "tanh": Tanh, "sigmoid": Sigmoid}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_stands_between_affine_maps(name):
    flow = assemble(compose(f"flow.activation={name}", "flow.depth=3").flow, (2,))
    assert [type(stage) for stage in stages(flow.bijector)] == [LowRankAffine, ACTIVATIONS[name]] * 2 + [LowRankAffine]
    slopes = 2 if "prelu" in name else 0
    assert sum(parameter.numel() for parameter in flow.parameters()) == 3 * (3 + 4 + 2) + slopes


def initial_flow(activation, depth, seed, initialization="covering"):
    words = [f"flow.activation={activation}", f"flow.depth={depth}", f"flow.initialization={initialization}"]
    return build(compose("target=checkerboard", *words, f"seed={seed}", "dtype=float64")).flow


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
@pytest.mark.parametrize("depth", [2, 3])
def test_covering_initialization_gives_every_point_a_density(activation, depth):
    points = Checkerboard().sample(10_000, generator(0, "test"), torch.float64)
    for seed in range(24):
        assert initial_flow(activation, depth, seed).log_prob(points).isfinite().all()
    assert not initial_flow(activation, depth, 0, "near_identity").log_prob(points).isfinite().all()


@pytest.mark.parametrize("words", [[], ["flow.scale=diag"], ["flow.rank=0"], ["flow.depth=1"]], ids=" ".join)
def test_covering_maps_the_middle_half_to_the_data_range(words):
    """This also holds in the units of the data, which a fixed last map standardizes."""
    place = torch.tensor([5.0, -20.0]), torch.tensor([2.0, 7.0])
    points = place[0] + place[1] * torch.rand(2000, 2, generator=generator(0, "points"))
    for standardize in (None, place):
        flow = assemble(
            compose("flow.initialization=covering", *words).flow, (2,), None, generator(3, "start"), standardize
        )
        for parameter_name, parameter in flow.named_parameters():
            if parameter_name.endswith("factor"):  # the low-rank update stretches a little beyond the range
                parameter.data.zero_()
        cover_(flow, points, generator(0, "cover"))
        samples = flow.sample((100_000,), generator=generator(0, "samples"))
        low, high = samples.quantile(torch.tensor([0.25, 0.75]), dim=0)
        width = points.amax(0) - points.amin(0)
        torch.testing.assert_close((high - low) / width, torch.ones(2), rtol=0.05, atol=0)
        torch.testing.assert_close((low - points.amin(0)) / width, torch.zeros(2), rtol=0, atol=0.05)


def test_standardized_flow_is_the_same_flow_in_data_units():
    mean, deviation = torch.tensor([5.0, -20.0]), torch.tensor([2.0, 7.0])
    flow, moved = (assemble(compose().flow, (2,), None, generator(0, "start"), p) for p in (None, (mean, deviation)))
    y = torch.randn(20, 2, generator=generator(0, "points"))
    torch.testing.assert_close(moved.log_prob(mean + deviation * y), flow.log_prob(y) - deviation.log().sum())


def test_prepared_log_prob_of_a_bounded_flow_equals_log_prob():
    flow = initial_flow("tanh", 3, 0)
    points = 6 * torch.randn(200, 2, dtype=torch.float64, generator=generator(0, "points"))
    expected, fast = flow.log_prob(points), flow.prepared().log_prob(points)
    assert 20 < expected.isfinite().sum() < 180
    torch.testing.assert_close(fast, expected)


def test_initial_parameters_do_not_depend_on_the_default_dtype():
    """A notebook that works in double precision trains the same flow as the command line."""
    config = compose("flow.initialization=glorot").flow
    expected = assemble(config, (2,), None, generator(0, "start"), dtype=torch.float64)
    torch.set_default_dtype(torch.float64)
    try:
        flow = assemble(config, (2,), None, generator(0, "start"), dtype=torch.float64)
        assert torch.get_default_dtype() is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(map(torch.equal, flow.parameters(), expected.parameters()))


def test_image_exceeds_the_data_range_by_a_tenth():
    """This also holds where a smaller stretch would cover the data."""
    points = Checkerboard().sample(10_000, generator(0, "test"), torch.float64)
    middle = (points.amin(0) + points.amax(0)) / 2
    for seed in range(24):
        assert initial_flow("tanh", 3, seed).log_prob(middle + 1.09 * (points - middle)).isfinite().all()


def test_data_that_cannot_be_covered_is_refused_and_nothing_is_written(tmp_path):
    words = (
        "target=checkerboard",
        "flow.activation=tanh",
        "flow.initialization=covering",
        "flow.depth=40",
        "max_steps=5",
    )
    with pytest.raises(ConfigError, match=r"flow.initialization=covering: no stretch .* use a smaller flow\.depth"):
        flowlab.train(compose(*words), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("dim", [1, 2, 3, 9, 19, 64])
@pytest.mark.parametrize("full_rank", [False, True])
def test_output_spread_at_initialization_does_not_grow_with_depth_or_dimension(dim, full_rank):
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(1000, dim, generator=draws, dtype=torch.float64)
    for depth in (2, 6, 7, 16, 32, 64):
        for seed in range(2):
            flow = assemble(
                MLP(depth=depth, rank=dim if full_rank else min(2, dim)), (dim,), None, generator(seed, "start")
            ).double()
            with torch.no_grad():
                y, nll = flow.bijector.forward(x), -flow.log_prob(x).mean() / dim
            assert 0.2 < y.std(0).min() <= y.std(0).max() < 30, depth
            assert y.mean(0).abs().max() < 50, depth
            assert nll < 7, depth


@pytest.mark.parametrize("activation", ["smooth_prelu", "prelu"])
def test_bounded_initialization_is_near_identity_for_up_to_6_layers_in_2_dimensions(activation):
    for depth in (1, 2, 6):
        flows = [
            assemble(
                MLP(depth=depth, activation=activation, initialization=name), (2,), None, generator(0, "start")
            ).state_dict()
            for name in ("bounded", "near_identity")
        ]
        assert all(torch.equal(flows[0][name], tensor) for name, tensor in flows[1].items())


def test_recorded_sweeps_keep_their_initialization():
    for name in ("depth_rank", "targets"):
        assert compose(f"+sweep={name}").flow.initialization == "near_identity"


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("student_t", torch.distributions.StudentT(3.0)),
        ("laplace", torch.distributions.Laplace(0.0, 1.0)),
        ("normal", torch.distributions.Normal(0.0, 1.0)),
    ],
)
def test_base_may_have_heavier_tails(tmp_path, base, expected):
    words = ("target.train_size=200", f"flow.base={base}", "flow.degrees=3", "flow.depth=2", "max_steps=20")
    config = compose(*words, "test_size=100", "validation_size=100", "trainer.progress=off")
    assert_near = torch.testing.assert_close
    far = torch.tensor([[0.0, 30.0], [-2.0, 1.0]])
    flow = assemble(config.flow, (2,))
    assert_near(flow.base.log_prob(far), expected.log_prob(far).sum(-1))
    assert flow.sample((3,), generator=generator(0, "samples")).shape == (3, 2)
    seeds = [
        compose(*words, "test_size=100", "validation_size=100", "trainer.progress=off", f"seed={n}") for n in (0, 1)
    ]
    alone = flowlab.train(config, tmp_path / "alone")
    stacked = flowlab.train_many(seeds, [tmp_path / "0", tmp_path / "1"], say=lambda line: None)
    assert stacked[0].result["nll"] == pytest.approx(alone.result["nll"], rel=1e-4)
    assert flowlab.load_run(tmp_path / "alone").flow.log_prob(far).isfinite().all()
