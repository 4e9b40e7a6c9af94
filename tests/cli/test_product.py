"""The jobs of a sweep: keys that vary together, and options of a group with keys of their own."""

import pytest

from flowlab import load_sweep
from flowlab.cli.jobs import check_jobs, expand
from flowlab.cli.main import main
from flowlab.config.errors import ConfigError

PAIR = ["flow.depth=tag(zip,choice(2,4,6))", "flow.rank=tag(zip,range(3))"]
CUSTOM = ["flow._target_=flowlab.bijectors.LowRankAffine", "+flow.scale=diag"]


def test_keys_with_one_tag_vary_together():
    jobs = expand(["optimizer.lr=tag(zip2,choice(0.1,0.2))", *PAIR, "optimizer.clip=tag(zip2,choice(1,2))"])
    values = [[word.partition("=")[2] for word in job] for job in jobs]
    lr_and_clip, depth_and_rank = (("0.1", "1"), ("0.2", "2")), (("2", "0"), ("4", "1"), ("6", "2"))
    assert values == [[lr, clip, *both] for lr, clip in lr_and_clip for both in depth_and_rank]
    assert len(expand([*PAIR, "seed=0,1"])) == 6


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            [PAIR[0], "flow.rank=tag(zip,choice(0,1))"],
            r"flow\.rank: has 2 values, and another key .* zip has 3; keys with",
        ),
        ([*PAIR[:1], "flow.rank=tag(zip,range(100000000))"], "has 100,000,000 values"),
        ([*PAIR, "seed=range(100000000)"], "would be a sweep of 300,000,000 jobs"),
    ],
)
def test_keys_with_one_tag_need_as_many_values(words, complaint):
    with pytest.raises(ConfigError, match=complaint):
        expand(words)


def test_own_flow_and_the_baseline_are_one_sweep(tmp_path):
    """A key goes to the jobs whose option has it; jobs that become the same are one."""
    jobs = expand(["flow=custom,smooth_prelu", *CUSTOM, "flow.depth=2,4", "seed=0,1"])
    assert jobs == [
        ["flow=custom", *CUSTOM, "seed=0"],
        ["flow=custom", *CUSTOM, "seed=1"],
        *(["flow=smooth_prelu", f"flow.depth={depth}", f"seed={seed}"] for depth in (2, 4) for seed in (0, 1)),
    ]
    checked = check_jobs(jobs, tmp_path / "sweep")
    assert [job.config.flow.name for job in checked] == [*["custom"] * 2, *["mlp"] * 4]
    with pytest.raises(ConfigError, match=r"flow\.dept: a key of your own class needs a plus: \+flow\.dept"):
        check_jobs(expand(["flow=custom,smooth_prelu", *CUSTOM, "flow.dept=3"]), tmp_path / "sweep")


@pytest.mark.parametrize("group", ["optimizer=adam,sgd", "optimizer=sgd,adam"])
def test_a_key_of_one_option_goes_to_its_jobs(group):
    jobs = expand([group, "optimizer.momentum=0.5", "optimizer.lr=0.1"])
    assert {job[0]: len(job) for job in jobs} == {"optimizer=adam": 2, "optimizer=sgd": 3}


def test_own_flow_and_the_baseline_train_in_one_sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quick = ["max_steps=5", "test_size=50", "validation_size=50", "batch_size=8", "trainer.progress=off"]
    assert main(["-m", "flow=custom,smooth_prelu", *CUSTOM, "flow.depth=1", *quick, "hydra.sweep.dir=sweep"]) == 0
    assert list(load_sweep("sweep")["flow.name"]) == ["custom", "mlp"]
