"""What Siblings composes is what Hydra composes."""

import pytest
from omegaconf import OmegaConf

from flowlab import ConfigError
from flowlab.config import siblings
from flowlab.config.compose import compose_yaml
from flowlab.config.siblings import Siblings

JOBS = {
    "seeds": (1, [["seed=0"], ["seed=1"], ["seed=2"]]),
    "values of any type": (1, [["optimizer.lr=0.1", "dtype=float32"], ["optimizer.lr=1", "dtype='float64'"]]),
    "a group": (2, [["flow=nsf", "seed=0"], ["flow=realnvp", "seed=0"], ["flow=nsf", "seed=1"]]),
    "an experiment": (1, [["experiment=jang2018", "flow.depth=2"], ["experiment=jang2018", "flow.depth=4"]]),
    "the same key twice": (1, [["seed=0", "flow.depth=2", "seed=1"], ["seed=2", "flow.depth=3", "seed=4"]]),
    "a list": (2, [["metrics=[bits_per_dim]"], ["metrics=[]"]]),
    "null": (2, [["trainer.max_time=null"], ["trainer.max_time=3"]]),
    "an interpolation": (2, [["seed=1", "max_steps=${seed}"], ["seed=2", "max_steps=100"]]),
    "an added key": (2, [["+target.mean=0", "target=custom"], ["+target.mean=1", "target=custom"]]),
    "a setting of Hydra": (1, [["seed=0", "hydra.sweep.subdir=x${seed}"], ["seed=1", "hydra.sweep.subdir=x${seed}"]]),
    "wrong values": (1, [["seed=a"], ["seed=b"]]),
}


@pytest.mark.parametrize(("times", "jobs"), JOBS.values(), ids=JOBS)
def test_a_job_is_what_hydra_composes(monkeypatch, times, jobs):
    composed = []

    def compose_and_count(*arguments, **options):
        composed.append(arguments)
        return compose_yaml(*arguments, **options)

    monkeypatch.setattr(siblings, "compose_yaml", compose_and_count)
    ours = Siblings()
    for words in jobs:
        assert_equal(ours.compose(words), compose_yaml(words, hydra_settings=True))
    assert len(composed) == times
    for words in jobs:  # no job has changed what others share
        assert_equal(ours.compose(words), compose_yaml(words, hydra_settings=True))


def assert_equal(one, two):
    assert OmegaConf.to_yaml(one) == OmegaConf.to_yaml(two)
    assert OmegaConf.is_struct(one) == OmegaConf.is_struct(two)


def test_errors_are_those_of_compose_yaml():
    ours = Siblings()
    ours.compose(["optimizer.lr=0.1", "seed=1"])
    for words in (["optimizer.lr=0.1", "seeds=1"], ["flow=no_such"], ["optimizer.lr=0.1", "seed=1,2"], ["seed"]):
        with pytest.raises(ConfigError) as theirs:
            compose_yaml(words, hydra_settings=True)
        with pytest.raises(ConfigError) as raised:
            ours.compose(words)
        assert str(raised.value) == str(theirs.value)
    with pytest.raises(ConfigError, match="a secret does not belong on a command line"):
        ours.compose(["optimizer.lr=0.1", "seed=" + "a1" * 20])
