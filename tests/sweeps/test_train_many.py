import pytest
import torch

from flowlab import compose
from flowlab.flows._assemble import count_costs
from flowlab.sweeps.train_many import bytes_of_job, describe_groups, show_sweep_progress, split_evenly, stack_key
from flowlab.targets import Banana, FileTarget

TARGET = Banana()


def test_groups_are_described():
    assert describe_groups(24, [8, 8, 8]) == "24 jobs: 3 stacks of 8"
    assert describe_groups(1, [1]) == "1 job: 1 alone"
    assert describe_groups(3, [], done=3) == "3 jobs: 3 done already"


@pytest.mark.parametrize("jobs", range(1, 12))
@pytest.mark.parametrize("largest", [1, 3, 100])
@pytest.mark.parametrize("at_least", [1, 2])
def test_split_is_even_and_has_every_job_once(jobs, largest, at_least):
    split = split_evenly(list(range(jobs)), largest, at_least)
    sizes = [len(part) for part in split]
    assert [job for part in split for job in part] == list(range(jobs))
    assert max(sizes) <= largest
    assert max(sizes) - min(sizes) <= 1
    assert len(split) >= min(at_least, jobs)


@pytest.mark.parametrize(
    "words",
    [
        ["seed=1"],
        ["optimizer.lr=0.5", "optimizer.schedule=constant"],
        ["target=two_moons"],
        ["flow.smoothness=0.3", "flow.initial_slope=0.4", "flow.initialization=glorot"],
    ],
)
def test_jobs_that_differ_only_in_values_are_stacked(words):
    assert stack_key(compose(*words), TARGET) == stack_key(compose(), TARGET)


@pytest.mark.parametrize(
    "words",
    [
        ["flow.depth=2"],
        ["flow.rank=1"],
        ["flow.slope=vector"],
        ["flow=prelu"],
        ["batch_size=64"],
        ["max_steps=5"],
        ["dtype=float64"],
        ["optimizer.clip=1"],
        ["objective=reverse_kl"],
        ["validation_size=10"],
    ],
)
def test_jobs_that_differ_in_shape_are_not_stacked(words):
    assert stack_key(compose(*words), TARGET) != stack_key(compose(), TARGET)


def test_reverse_kl_jobs_of_different_targets_are_not_stacked():
    words = ["objective=reverse_kl"]
    assert stack_key(compose(*words, "target.noise=2"), TARGET) != stack_key(compose(*words), TARGET)


def test_custom_flow_is_not_stacked():
    words = ["flow=custom", "flow._target_=flowlab.bijectors.LowRankAffine"]
    assert stack_key(compose(*words), TARGET) is None


def test_files_are_stacked_if_columns_and_standardization_agree(tmp_path):
    def target(name, columns, **settings):
        rows = [",".join(str(row * (column + 1) % 7) for column in range(columns)) for row in range(1, 20)]
        (tmp_path / name).write_text("\n".join(rows))
        return FileTarget(tmp_path / name, **settings)

    config, other = compose("target=file", "target.path=a.csv"), compose("target=file", "target.path=b.csv", "seed=3")
    key = stack_key(config, target("a.csv", 2))
    assert stack_key(other, target("b.csv", 2)) == key
    assert stack_key(other, target("c.csv", 3)) != key
    assert stack_key(other, target("d.csv", 2, standardize=False)) != key


def test_memory_grows_with_the_minibatch_and_the_flow():
    def size(*words):
        config = compose("validation_size=2", *words)
        return bytes_of_job(config, TARGET, count_costs(config.flow, (2,), None, getattr(torch, config.dtype)))

    small = size()
    assert size("batch_size=5120") > 5 * small
    assert size("flow.depth=60") > 5 * small
    assert 1.5 * small < size("dtype=float64") <= 2 * small


def test_lines_report_steps_in_percent_and_ended_runs(capsys):
    with show_sweep_progress("lines", jobs=[3, 1], steps=[100, 100]) as receive:
        receive(0, 0)
        receive(0, 50)
        receive(1, 100)
        receive(1, None)
        receive(0, 51)
        receive(0, 100)
        receive(0, None)
    assert capsys.readouterr().err.splitlines() == [
        " 37% of the steps, 0 of 4 runs ended",
        " 62% of the steps, 0 of 4 runs ended",
        "100% of the steps, 1 of 4 runs ended",
    ]


def test_bar_is_shown_and_off_prints_nothing(capsys):
    for kind in ("bar", "off"):
        with show_sweep_progress(kind, jobs=[1], steps=[10]) as receive:
            receive(0, 10)
            receive(0, None)
        error = capsys.readouterr().err
        assert ("1 of 1 runs ended" in error) == (kind == "bar")
