"""Composition from YAML: every option composes, values equal the Python defaults, and precedence holds."""

import dataclasses
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import hydra
import numpy as np
import pytest
import torch
import yaml
from hydra.core.global_hydra import GlobalHydra

from flowlab.config.component import Component
from flowlab.config.compose import compose, rename_words
from flowlab.config.errors import ConfigError
from flowlab.config.registry import PACKAGES, conf_directory, lookup, names, option_names
from flowlab.config.schema import RunConfig, TrainerConfig, flat, rename_keys, to_config
from flowlab.flows._assemble import assemble

GROUPS = sorted(path.name for path in conf_directory().iterdir() if path.is_dir() and path.name != "hydra")
OPTIONS = [(group, path.stem) for group in GROUPS for path in sorted((conf_directory() / group).glob("*.yaml"))]


NEEDED = {
    **{("target", name): ["target.path=points.csv"] for name in ("file", "table")},
    ("target", "flow"): ["target.run=runs/teacher"],
    ("target", "density"): ["target._target_=flowlab.targets.Funnel", "target.dim=2"],
    ("target", "custom"): ["target._target_=flowlab.targets.Funnel"],
    ("flow", "custom"): ["flow._target_=flowlab.bijectors.LowRankAffine"],
}


def compose_option(group, option):
    plus = "+" if group == "sweep" else ""
    return compose(f"{plus}{group}={option}", *NEEDED.get((group, option), []))


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=map("=".join, OPTIONS))
def test_every_option_composes(group, option):
    config = compose_option(group, option)
    assert to_config(config.to_dict()) == config


def test_every_component_has_an_option_with_its_defaults():
    """The YAML states every value and equals the Python defaults, so `SGD()` is `optimizer=sgd`."""
    for group in set(PACKAGES) - {"metric", "map", "task"}:
        own = [component_of(group, option) for option in option_names(group)]
        for name in names(group):
            kind = lookup(group, name)
            default = kind(**needed_values(group, name))
            with_its_name = [each for each in own if each.name == name]
            assert default in with_its_name, f"{group}={name}"
            if name in option_names(group):
                assert component_of(group, name) == default, f"{group}={name}"


def needed_values(group, name):
    """What NEEDED says of a component, by the names of its fields."""
    words = [word.removeprefix(f"{group}.").partition("=") for word in NEEDED.get((group, name), [])]
    return {key: yaml.safe_load(value) for key, _, value in words}


def component_of(group, option) -> Component:
    made = getattr(compose_option(group, option), group)
    return made[option] if group == "logger" else made


def test_yaml_lists_every_setting_of_its_component():
    """Therefore `--cfg job` and the files show every key."""
    for group in set(PACKAGES) - {"metric", "map", "task"}:
        for option in option_names(group):
            node = yaml.safe_load((conf_directory() / group / f"{option}.yaml").read_text())
            if node.get("name", "custom") != "custom":  # prelu has the keys of smooth_prelu
                keys = {item.name for item in dataclasses.fields(lookup(group, node["name"])) if item.init}
                assert set(node) - {"name"} == keys, f"{group}={option}"


def test_default_run_equals_python_defaults():
    config = compose()
    assert config.trainer == TrainerConfig()
    values = {item.name: getattr(config, item.name) for item in dataclasses.fields(RunConfig)}
    assert RunConfig(**values) == RunConfig()


def test_groups_are_component_groups_and_choices():
    assert set(GROUPS) == (set(PACKAGES) - {"metric", "map", "task"}) | {"trainer", "experiment", "sweep"}


def test_several_loggers_compose():
    loggers = compose("logger=[csv,tensorboard]").logger
    assert [loggers[name].name for name in loggers] == ["csv", "tensorboard"]
    assert compose("logger=[csv,wandb]", "logger.wandb.mode=offline").logger["wandb"].mode == "offline"


def test_tutorial_experiments_have_published_settings():
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


def test_glorot_limits_equal_tensorflow():
    flow = assemble(compose("flow=prelu", "flow.depth=2000", "flow.final_activation=true").flow, (2,))
    limits = {"scale": 1.0, "factor": 1.2247, "shift": 1.2247, "raw_slope": 1.7321}
    for name, limit in limits.items():
        largest = max(p.abs().max().item() for key, p in flow.named_parameters() if key.endswith(f".{name}"))
        assert 0.99 * limit < largest <= limit + 1e-4


def test_integers_are_converted_to_floats():
    target = compose("target=gaussian", "target.mean=[1,2]", "target.factor=[[2,0],[0,1]]").target
    assert target.mean == [1.0, 2.0]
    assert target.factor == [[2.0, 0.0], [0.0, 1.0]]


def test_command_line_overrides_experiment_overrides_group():
    assert compose("experiment=jang2018").optimizer.lr == 1e-3
    assert compose("experiment=jang2018", "optimizer.lr=0.5").optimizer.lr == 0.5
    assert compose("experiment=jang2018", "flow=smooth_prelu").flow.activation == "smooth_prelu"


def test_compose_does_not_import_torch():
    code = "import sys, flowlab; flowlab.compose('target=funnel'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    "words", [["flow.dept=3"], ["target=nope"], ["logger=nope"], ["optimizer.lr=-1"]], ids=" ".join
)
def test_mistake_is_reported_without_importing_torch(words):
    code = f"""
import sys, flowlab
try:
    flowlab.compose(*{words})
except flowlab.ConfigError:
    sys.exit("torch" in sys.modules)
sys.exit("no error")"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_mistake_raises_config_error_in_python():
    with pytest.raises(ConfigError, match="flow.dept: no such key in flow; did you mean 'depth'"):
        compose("flow.dept=3")


OLD_OPTIONS = {"experiment=banana_document": "experiment=jang2018", "+sweep=document": "+sweep=jang2018"}
OLD_KEYS = {
    "flow.start": ("flow.initialization", "glorot"),
    "flow.slope_start": ("flow.initial_slope", 0.5),
    "trainer.started_by": ("trainer.launcher", "flowlab"),
}


@pytest.mark.parametrize("old", OLD_OPTIONS)
def test_old_option_name_still_works(old):
    assert compose(old) == compose(OLD_OPTIONS[old])


@pytest.mark.parametrize("old", OLD_KEYS)
def test_old_key_name_still_works(old):
    new, value = OLD_KEYS[old]
    config = compose(f"{new}={value}")
    assert compose(f"{old}={value}") == config
    values = config.to_dict()
    group, _, key = new.partition(".")
    values[group][old.partition(".")[2]] = values[group].pop(key)
    assert to_config(values) == config
    assert flat(config.to_dict())[new] == value


def test_old_configuration_with_one_logger_still_works():
    values = compose("logger=wandb", "logger.wandb.mode=offline").to_dict()
    assert to_config(values | {"logger": values["logger"]["wandb"]}) == to_config(values)
    assert list(to_config(values | {"logger": {"name": "csv"}}).logger) == ["csv"]


@pytest.mark.parametrize(
    ("words", "renamed"),
    [
        (["logger=wandb", "logger.mode=offline"], "logger.wandb.mode=offline"),
        (["logger=tensorboard", "logger.figures_every=5"], "logger.tensorboard.figures_every=5"),
        (["logger=wandb", "logger.wandb.mode=offline"], "logger.wandb.mode=offline"),
    ],
)
def test_old_logger_key_in_a_command_is_renamed(words, renamed):
    assert rename_words(words)[1] == renamed
    compose(*words)


def test_similar_words_are_not_renamed():
    for word in ("flow.started=1", "+flow.depth=3", "target.path=flow.start", "~flow", "logger.csv={}"):
        assert rename_words([word]) == [word]


def test_missing_key_keeps_the_old_behaviour():
    """A run from a version without compilation resumes without compilation."""
    values = compose().to_dict()
    assert rename_keys(values)["trainer"]["compile"] == "auto"
    del values["trainer"]["compile"]
    assert to_config(values).trainer.compile == "false"


def test_compose_leaves_the_users_own_hydra_as_it_is(tmp_path):
    (tmp_path / "mine.yaml").write_text("x: 1\n")
    with hydra.initialize_config_dir(version_base="1.2", config_dir=str(tmp_path)):
        assert compose("flow.depth=4").flow.depth == 4
        with pytest.raises(ConfigError, match=r"flow\.dept: no such key"):
            compose("flow.dept=4")
        assert hydra.compose("mine") == {"x": 1}
        assert str(hydra.version.getbase()) == "1.2"
    assert not GlobalHydra.instance().is_initialized()


def test_compose_works_in_the_users_own_hydra_main(tmp_path):
    (tmp_path / "mine.yaml").write_text("x: 1\n")
    script = (
        "import flowlab, hydra\n"
        f"@hydra.main(version_base='1.3', config_path={str(tmp_path)!r}, config_name='mine')\n"
        "def main(config):\n"
        "    print(flowlab.compose('flow.depth=4').flow.depth, hydra.compose('mine').x, config.x)\n"
        "main()\n"
    )
    (tmp_path / "script.py").write_text(script)
    command = [sys.executable, "script.py", f"hydra.run.dir={tmp_path}/out"]
    assert subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True).stdout == "4 1 1\n"


def test_threads_compose_at_once():
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda seed: compose(f"seed={seed}").seed, range(12))) == list(range(12))


@pytest.mark.parametrize("part", ["", "flow.", "trainer.", "optimizer.", "target.", "objective.", "logger.csv."])
def test_unknown_key_of_a_configuration_object_is_refused(part):
    config = compose()
    node = config.logger["csv"] if part.startswith("logger") else getattr(config, part[:-1]) if part else config
    with pytest.raises(ConfigError, match=rf"^{re.escape(part)}dpeth: no such key"):
        node.dpeth = 4
    with pytest.raises(ConfigError, match=r"did you mean 'depth'\? allowed: depth"):
        config.flow.dpeth = 4
    with pytest.raises(ConfigError, match=r"optimizer\.learning_rate: no such key; the learning rate is optimizer\.lr"):
        config.optimizer.learning_rate = 1  # a method has this name
    config.flow.depth = 4
    assert to_config(config.to_dict()).flow.depth == 4


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.array, torch.tensor])
def test_numbers_of_numpy_and_torch_are_numbers(kind):
    config = compose("target=gaussian")
    config.seed, config.optimizer.lr, config.flow.depth = kind(4), kind(1), kind(3)
    config.target.mean, config.flow.final_activation = np.array([1.0, 2.0]), np.bool_(True)
    checked = to_config(config.to_dict())
    assert (checked.seed, checked.optimizer.lr, checked.flow.depth) == (4, 1.0, 3)
    assert (checked.target.mean, checked.flow.final_activation) == ([1.0, 2.0], True)
    assert type(checked.seed) is int


def test_values_of_other_kinds_are_refused_in_words():
    config = compose()
    config.flow.depth = object()
    with pytest.raises(ConfigError, match=r"flow\.depth=<object .*>: must be a number, a word, true"):
        to_config(config.to_dict())
    config = compose()
    config.flow = "prelu"
    with pytest.raises(
        ConfigError, match="flow='prelu': must be an option of the group flow: autoregressive, .*prelu, "
    ):
        config.to_dict()


def test_overrides_may_be_a_list():
    assert compose(["flow.depth=4", "seed=1"], "max_steps=5") == compose("flow.depth=4", "seed=1", "max_steps=5")
    for wrong in ({"flow.depth": 4}, [["seed=1"]], None):
        with pytest.raises(ConfigError, match="must be text KEY=VALUE"):
            compose(wrong)
