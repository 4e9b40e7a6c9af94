"""Components of an installed package in Python: typed keys, error messages, `flowlab.fit`, allowed names."""

from dataclasses import dataclass

import pandas
import pytest
import torch

from flowlab import ConfigError, compose, fit, load_run, register, train
from flowlab.bijectors import Chain, LowRankAffine, stages
from flowlab.flows.base import Architecture
from flowlab.objectives.base import Objective
from flowlab.training.build import build

SMALL = ("max_steps=20", "batch_size=16", "test_size=50", "validation_size=50", "trainer.progress=off")

pytestmark = pytest.mark.usefixtures("example")


def test_values_are_converted_to_the_field_types():
    config = compose("flow=affine_coupling", "flow.log_scale=1", "target=rotated", "target.distance=3")
    assert (config.flow.log_scale, type(config.flow.log_scale)) == (1.0, float)
    assert (config.target.distance, type(config.target.distance)) == (3.0, float)
    assert compose("optimizer=lion", "optimizer.clip=1").optimizer.clip == 1.0


@pytest.mark.parametrize(
    ("words", "message"),
    {
        "flow=affine_couplings": r"did you mean 'affine_coupling'\?.*sinh_arcsinh",
        "flow=affine_coupling flow.layer=3": r"flow\.layer: no such key in flow; did you mean 'layers'\?",
        "flow=affine_coupling flow.layers=0": r"flow\.layers=0: must be at least 1",
        "flow=affine_coupling flow.hidden=wide": r"flow\.hidden='wide': must be a whole number",
        "flow=maf flow.map=heavytails": r"flow\.map='heavytails': no such map; did you mean 'heavy_tails'\?",
        "flow=sinh_arcsinh flow.tail=long": r"flow\.tail='long': must be a number",
        "target=laplace target.scale=-1": r"target\.scale=-1.*: must be greater than 0",
        "target=rotation": r"did you mean 'rotated'\?",
        "target=rotated target.distance=[1]": r"target\.distance=\[1\]: must be a number",
        "target=simulator target.task=parabol": r"target\.task='parabol': no such task; did you mean 'parabola'\?",
        "objective=bounded_likelihood objective.floor=1": r"objective\.floor=1.*less than 0",
        "optimizer=lion optimizer.blend=2": r"optimizer\.blend=2.*: must be at most 1",
        "logger=[csv,json_lines] logger.json_lines.file=3.5 logger.json_lines.path=x": r"no such key",
        "metrics=[median_logprob]": r"metrics='median_logprob': no such metric; did you mean 'median_log_prob'\?",
    }.items(),
)
def test_mistake_is_named(words, message):
    with pytest.raises(ConfigError, match=message):
        compose(*words.split())


@pytest.mark.parametrize("flow", ["coupling", "autoregressive"])
def test_a_map_of_the_package_trains(flow, tmp_path):
    run = train(compose(f"flow={flow}", "flow.map=heavy_tails", "flow.depth=1", *SMALL), tmp_path / "run")
    x = torch.randn(20, 2)
    torch.testing.assert_close(run.flow.bijector.inverse(run.flow.bijector(x)), x, rtol=1e-3, atol=1e-3)
    assert type(stages(run.flow.bijector)[0].map).__name__ == "HeavyTails"


@pytest.mark.parametrize(
    ("words", "message"),
    {
        "flow=affine_coupling target=laplace target.dim=1": "flow=affine_coupling: needs vectors of at least 2",
        "flow=affine_coupling target=rotated objective=reverse_kl": "objective=reverse_kl: .* conditional",
    }.items(),
)
def test_incompatible_parts_are_refused_before_training(words, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        train(compose(*words.split(), *SMALL), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_conditional_run_is_sampled_at_a_context(tmp_path, capsys):
    from flowlab.cli.sample import main as sample
    from flowlab.cli.score import main as score

    words = ("flow=affine_coupling", "target=rotated", "target.distance=6", *SMALL)
    run = train(compose(*words), tmp_path / "run")
    command = [str(run.directory), "n=7"]
    assert sample([*command, f"output={tmp_path / 'a.csv'}", "context=[0.5]"]) == 0
    assert len(pandas.read_csv(tmp_path / "a.csv")) == 7
    assert sample([*command, f"output={tmp_path / 'b.csv'}"]) == 2
    assert sample([*command, f"output={tmp_path / 'b.csv'}", "context=[1,2]"]) == 2
    assert score([command[0], "input=rows.csv", f"output={tmp_path / 'b.csv'}"]) == 2
    said = capsys.readouterr().err
    assert "context: must be given: 1 number(s)" in said
    assert "context=[1, 2]: must be 1 number(s)" in said
    assert "its flow is conditional" in said
    assert not (tmp_path / "b.csv").exists()


def test_fit_accepts_component_names_and_objects():
    from flowlab_example.affine_coupling import AffineCoupling
    from flowlab_example.bounded_likelihood import BoundedLikelihood
    from flowlab_example.lion import Lion
    from flowlab_example.rotated import Rotated

    def train_flow(**named):
        torch.manual_seed(0)
        flow = AffineCoupling(hidden=4).build((2,), (1,))
        result = fit(flow, Rotated(), steps=40, metrics=["median_log_prob"], progress="off", validate_every=20, **named)
        return flow, result

    flow, by_name = train_flow(optimizer="lion", lr=0.02, objective="bounded_likelihood")
    again, _ = train_flow(optimizer=Lion(lr=0.02), objective=BoundedLikelihood())
    assert list(by_name.history["median_log_prob"].dropna().index) == [20, 40]
    assert by_name.history["nll"].dropna().is_monotonic_decreasing
    assert all(torch.equal(*pair) for pair in zip(flow.parameters(), again.parameters(), strict=True))


def test_fit_learns_a_conditional_density():
    from flowlab_example.affine_coupling import AffineCoupling
    from flowlab_example.rotated import Rotated

    batch = Rotated().batch("train", 500, 0)
    flow = AffineCoupling(hidden=4).build((2,), (1,))
    before = flow.log_prob(*batch).mean().item()
    fit(flow, batch.x, context=batch.context, steps=60, lr=0.05, progress="off")
    assert flow.log_prob(*batch).mean() > before + 0.5


def test_a_finite_conditional_target_keeps_each_point_with_its_context(tmp_path):
    words = ("flow=affine_coupling", "target=rotated", "target.train_size=64")
    run = train(compose(*words, *SMALL), tmp_path / "run")
    assert run.result["weights"] == "best"
    target = load_run(tmp_path / "run").target
    x, context = target.batch("train", 0, 0)
    assert x.shape == (64, 2)
    assert (x - target._mean(context)).std() == pytest.approx(0.5, abs=0.1)


def test_target_can_define_its_standardization(tmp_path, monkeypatch):
    from flowlab_example.rotated import Rotated

    units = (torch.tensor([1.0, -1.0]), torch.tensor([2.0, 3.0]))
    monkeypatch.setattr(Rotated, "standardization", units)
    run = train(compose("flow=affine_coupling", "target=rotated", *SMALL), tmp_path / "run")
    assert torch.equal(load_run(run.directory).flow.bijector[-1].scale, units[1])


def test_seed_decides_initialization_of_layers_without_a_generator():
    def weights(seed):
        torch.randn(3)  # earlier draws must not matter
        return build(compose("flow=affine_coupling", f"seed={seed}")).flow.bijector[0].network[0].weight

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_allowed_class_needs_no_entry_point(tmp_path, monkeypatch):
    named = "flow._target_=flowlab_example.sinh_arcsinh.SinhArcsinh"
    with pytest.raises(ConfigError, match="FLOWLAB_ALLOW=flowlab_example"):
        compose("flow=custom", named)
    monkeypatch.setenv("FLOWLAB_ALLOW", "flowlab_example")
    words = ("target=custom", "target._target_=flowlab_example.rotated.Rotated", "+target.distance=1")
    config = compose("flow=custom", named, "+flow.tail=1.5", "target=laplace", *SMALL)
    run = train(config, tmp_path / "run")
    assert load_run(tmp_path / "run").flow.bijector.log_tail.shape == (2,)
    assert run.result["nll"] > 0
    assert compose(*words).target.distance == 1.0


def test_component_can_be_registered_after_the_first_lookup(tmp_path):
    """The new component is then an option like the others."""
    from flowlab_example.affine_coupling import AffineCoupling

    compose("flow=affine_coupling")

    @register("flow", "wide_coupling")
    @dataclass(kw_only=True)
    class WideCoupling(AffineCoupling):
        hidden: int = 32

    config = compose("flow=wide_coupling", "flow.layers=1", *SMALL)
    assert config.flow == WideCoupling(layers=1)
    assert train(config, tmp_path / "run").flow.bijector[0].network[0].out_features == 32
    with pytest.raises(ConfigError, match="did you mean 'wide_coupling'"):
        compose("flow=wide_couplin")


def test_objective_that_is_not_a_dataclass_is_refused(monkeypatch):
    from flowlab.config.from_class import schema_of_class

    class Plain(Objective):
        pass

    with pytest.raises(ConfigError, match=r"Plain: must be a dataclass .*put @dataclass before the class"):
        schema_of_class("objective", Plain)


def test_class_that_is_not_a_flow_is_refused():
    from flowlab.config.from_class import schema_of_class

    with pytest.raises(ConfigError, match="must be derived from flowlab.bijectors.base.Bijector or flowlab.flow.Flow"):
        schema_of_class("flow", Objective)


def test_plain_class_is_registered_by_its_constructor():
    @register("flow", "registered_rotation")
    class Rotation(Chain):
        def __init__(self, dim: int, depth: int = 1) -> None:
            super().__init__([LowRankAffine(dim) for _ in range(depth)])

    assert issubclass(Rotation, Chain)
    config = compose("flow=registered_rotation", "flow.depth=3", *SMALL)
    assert len(config.flow.build((2,)).bijector) == 3
    with pytest.raises(ConfigError, match=r"flow\.dept: no such key.*depth"):
        compose("flow=registered_rotation", "flow.dept=3")


def test_component_without_dataclass_is_refused():
    with pytest.raises(ConfigError, match=r"Bare: must be derived from .* needs @dataclass before its class"):

        @register("flow", "bare")
        class Bare(Architecture):
            depth: int = 1
