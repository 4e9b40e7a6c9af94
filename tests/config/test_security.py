"""Code outside the allow-list is refused before it is imported."""

import os
import sys

import pytest
from omegaconf import OmegaConf

import flowlab
from flowlab import ConfigError, compose
from flowlab.bijectors import Bijector
from flowlab.config.compose import compose_yaml
from flowlab.config.load import load_class
from flowlab.config.security import allowed_packages, check_name, check_targets
from flowlab.flow import Flow

KINDS = (Bijector, Flow)


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A package that leaves a mark when it is imported, and one when a function of it is called."""
    (tmp_path / "planted.py").write_text(
        "from pathlib import Path\n"
        f"Path({str(tmp_path / 'imported')!r}).touch()\n"
        f"def call(*args, **keywords): Path({str(tmp_path / 'called')!r}).touch()\n"
        "from flowlab.bijectors import Sigmoid\n"
        "import os\n"
        "class Own(Sigmoid): pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("FLOWLAB_ALLOW", raising=False)
    yield tmp_path
    sys.modules.pop("planted", None)
    assert not (tmp_path / "called").exists()


def test_a_package_that_is_not_allowed_is_not_imported(planted):
    with pytest.raises(ConfigError, match=r"flow._target_=planted.Own: the package planted is not allowed; .*ALLOW=pl"):
        load_class("flow._target_", "planted.Own", KINDS)
    with pytest.raises(ConfigError, match="planted is not allowed"):
        compose("flow=custom", "flow._target_=planted.Own")
    assert not (planted / "imported").exists()


def test_package_is_allowed_by_its_full_name(planted, monkeypatch):
    monkeypatch.setenv("FLOWLAB_ALLOW", "other, planted")
    assert load_class("flow._target_", "planted.Own", KINDS).__name__ == "Own"
    assert (planted / "imported").exists()
    monkeypatch.setenv("FLOWLAB_ALLOW", "plant")  # a package, and not the beginning of a word
    with pytest.raises(ConfigError, match="is not allowed"):
        load_class("flow._target_", "planted.Own", KINDS)


def test_allow_in_python_reaches_processes_that_start_later(monkeypatch):
    monkeypatch.setenv("FLOWLAB_ALLOW", "one")
    flowlab.allow("two", "one")
    assert allowed_packages() == ["one", "two"]
    assert os.environ["FLOWLAB_ALLOW"] == "one,two"
    for name in ("*", "", "a b", "../x", "a-b"):
        with pytest.raises(ConfigError, match="is not the name of a package"):
            flowlab.allow(name)
    assert allowed_packages() == ["one", "two"]
    monkeypatch.setenv("FLOWLAB_ALLOW", "*")
    with pytest.raises(ConfigError, match=r"FLOWLAB_ALLOW: '\*' is not"):
        check_name("flow._target_", "os.system")


@pytest.mark.parametrize(
    ("path", "complaint"),
    {
        "flowlab.system.files.os.system": "cannot be imported",  # through a module to what it imports
        "flowlab.system.files.os": "must be a class",
        "flowlab.training.train.pl.Trainer": "cannot be imported",
        "flowlab.system.files.write_text": "must be a class",
        "flowlab.cli.jobs.Path": "must be a class derived from flowlab.bijectors.base.Bijector or flowlab.flow.Flow",
        "flowlab.flow.Flow.__init__": "cannot be imported",
        "flowlab.flow.Nope": "has no attribute 'Nope'",
        "functools.partial": "functools is not allowed",
        "builtins.eval": "builtins is not allowed",
        "flowlab": "must be the name of a class",
        "flowlab..flow.Flow": "must be the name of a class",
        "flowlab.flow.Flow()": "must be the name of a class",
        "flowlabs.flow.Flow": "flowlabs is not allowed",
        "flowlab/flow.Flow": "must be the name of a class",
        "": "must be the name of a class",
        None: "must be the name of a class",
        7: "must be the name of a class",
    }.items(),
)
def test_bypasses_of_the_allow_list_are_refused(path, complaint):
    with pytest.raises(ConfigError, match=complaint):
        load_class("flow._target_", path, KINDS)


def test_a_class_is_allowed_where_it_is_defined(planted, monkeypatch):
    """A class that an allowed module has imported is refused."""
    import planted as module

    monkeypatch.setenv("FLOWLAB_ALLOW", "planted")
    monkeypatch.setattr(module, "Foreign", type("Foreign", (Bijector,), {"__module__": "elsewhere"}), raising=False)
    with pytest.raises(ConfigError, match="is defined in elsewhere, which is not allowed"):
        load_class("flow._target_", "planted.Foreign", KINDS)


SEARCH = "+sweep=search"


@pytest.mark.parametrize(
    ("words", "culprit"),
    [
        (["hydra.launcher._target_=planted.call"], "hydra.launcher._target_=planted.call"),
        (["hydra.sweeper._target_=planted.call"], "hydra.sweeper._target_=planted.call"),
        (["hydra.launcher._target_=functools.partial"], "functools"),
        ([SEARCH, "hydra.sweeper.sampler._target_=os.system"], "hydra.sweeper.sampler._target_=os.system"),
        ([SEARCH, "hydra.sweeper.sampler._target_=optuna.samplers.os.system"], "optuna is not allowed"),
        ([SEARCH, "+hydra.sweeper.sampler.x={_target_: os.system}"], "hydra.sweeper.sampler.x._target_=os.system"),
        ([SEARCH, "+hydra.sweeper.sampler.x=[{_target_: os.system}]"], "hydra.sweeper.sampler.x[0]._target_"),
        ([SEARCH, "hydra.sweeper.sampler._target_=${dtype}", "dtype=os.system"], "_target_=os.system"),
        ([SEARCH, "hydra.sweeper.custom_search_space=planted.call"], "custom_search_space=planted.call"),
        (["+flow.x={_target_: os.system, _partial_: true, _args_: [id]}"], "flow.x._target_=os.system"),
        (["+hydra.callbacks.x._target_=planted.call"], "+hydra.callbacks.x._target_"),
        (["hydra={callbacks: {x: {_target_: planted.call}}}"], "flowlab does not pass this setting to Hydra"),
        (["+flow@hydra.callbacks=prelu"], "+flow@hydra.callbacks"),
        (["hydra/launcher@hydra.callbacks=basic"], "hydra/launcher@hydra.callbacks"),
        (["+hydra.job_logging.handlers={x: {class: planted.call}}"], "hydra.job_logging.handlers"),
        (["+hydra.hydra_logging.handlers.x={class: planted.call}"], "hydra.hydra_logging.handlers"),
        (["hydra.searchpath=[file:///tmp]"], "hydra.searchpath"),
        (["+hydra.job.env_set.LD_PRELOAD=x.so"], "+hydra.job.env_set.LD_PRELOAD"),
        (["hydra.mode=MULTIRUN"], "hydra.mode"),
        (["~hydra.launcher._target_"], "hydra.launcher"),
        (["experiment=../../evil"], "experiment=../../evil: an option is a word, not a path"),
        (["flow='/tmp/evil'"], "an option is a word, not a path"),
        (["experiment=[../evil]"], "an option is a word, not a path"),
        (["+sweep=..\\evil"], "an option is a word, not a path"),
        (["hydra/job_logging=../../evil"], "an option is a word, not a path"),
        (["experiment=${oc.env:HOME}"], "an option is a word, not a path"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_command_line_words_that_name_code_are_refused(words, culprit, planted):
    with pytest.raises(ConfigError) as refused:
        compose_yaml(words, hydra_settings=True)
    assert culprit in str(refused.value)
    assert not (planted / "imported").exists()


def test_classes_of_flowlab_and_its_engines_are_allowed():
    for words in ([SEARCH], [SEARCH, "hydra.sweeper.sampler._target_=optuna.samplers.RandomSampler"]):
        assert compose_yaml(words, hydra_settings=True).hydra.sweeper._target_.endswith("OptunaSweeper")
    for launcher in ("basic", "stacked", "slurm", "ray_cluster"):
        compose_yaml([f"hydra/launcher={launcher}", "hydra.run.dir=/tmp/a b", "hydra.verbose=true"])
    assert compose("validation_size=${test_size}").validation_size == 100_000


def test_target_inside_an_interpolated_node_is_refused():
    composed = OmegaConf.create({"a": "${b}", "b": {"c": "${oc.create:${d}}"}, "d": {"_target_": "os.system"}})
    with pytest.raises(ConfigError, match=r"_target_=os.system"):
        check_targets(composed)
