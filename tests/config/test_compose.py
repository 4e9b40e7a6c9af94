"""Composition from the YAML, and the answer to every kind of mistake."""

import subprocess
import sys

import pytest
from flowlab.config.schemas import SCHEMAS, ConfigError

from flowlab.config.compose import compose, conf_directory, to_config
from flowlab.flows._assemble import assemble

GROUPS = sorted(path.name for path in conf_directory().iterdir() if path.is_dir() and path.name != "hydra")
OPTIONS = [(group, path.stem) for group in GROUPS for path in sorted((conf_directory() / group).glob("*.yaml"))]


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids="=".join)
def test_every_option_composes(group, option):
    extra = {
        ("target", "file"): ["target.path=points.csv"],
        ("target", "custom"): ["target._target_=flowlab.targets.Funnel"],
        ("flow", "custom"): ["flow._target_=flowlab.bijectors.LowRankAffine"],
    }.get((group, option), [])
    config = compose(f"{'+' if group == 'sweep' else ''}{group}={option}", *extra)
    assert to_config(config.to_dict()) == config


def test_every_group_but_experiment_has_schemas():
    assert set(GROUPS) - {"experiment", "sweep"} == set(SCHEMAS)


def test_document_settings():
    jang = compose("experiment=jang2018")
    assert (jang.max_steps, jang.batch_size, jang.optimizer.lr) == (100_000, 512, 1e-3)
    assert (jang.flow.depth, jang.flow.rank, jang.flow.activation, jang.flow.positive) == (6, 2, "prelu", "abs")
    assert (jang.flow.initialization, jang.optimizer.schedule) == ("glorot", "constant")
    flow = assemble(jang.flow, (2,))
    assert len(flow.bijector) == 11
    assert sum(p.numel() for p in flow.parameters()) == 6 * (3 + 4 + 2) + 5
    keydana = compose("experiment=keydana")
    assert (keydana.max_steps, keydana.batch_size, keydana.target.train_size) == (1000, 100, 1000)
    assert [type(part).__name__ for part in assemble(keydana.flow, (2,)).bijector.parts] == ["LowRankAffine", "PReLU"]


def test_glorot_limits_are_the_documents():
    flow = assemble(compose("flow=prelu", "flow.depth=2000", "flow.final_activation=true").flow, (2,))
    limits = {"scale": 1.0, "factor": 1.2247, "shift": 1.2247, "raw_slope": 1.7321}
    for name, limit in limits.items():
        largest = max(p.abs().max().item() for key, p in flow.named_parameters() if key.endswith(f".{name}"))
        assert 0.99 * limit < largest <= limit + 1e-4


def test_whole_numbers_are_numbers():
    target = compose("target=gaussian", "target.mean=[1,2]", "target.factor=[[2,0],[0,1]]").target
    assert target.mean == [1.0, 2.0]
    assert target.factor == [[2.0, 0.0], [0.0, 1.0]]


def test_command_line_beats_experiment_beats_group():
    assert compose("experiment=jang2018").optimizer.lr == 1e-3
    assert compose("experiment=jang2018", "optimizer.lr=0.5").optimizer.lr == 0.5
    assert compose("experiment=jang2018", "flow=smooth_prelu").flow.activation == "smooth_prelu"


def test_composing_needs_no_torch():
    code = "import sys, flowlab; flowlab.compose('target=funnel'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_mistake_is_an_error_in_python_too():
    with pytest.raises(ConfigError, match="flow.dept: no such key in flow; did you mean 'depth'"):
        compose("flow.dept=3")
