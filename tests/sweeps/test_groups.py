import pytest

from flowlab import compose
from flowlab.sweeps.groups import bytes_of_job, describe, parts, stack_key


def test_groups_in_words():
    assert describe(24, [8, 8, 8]) == "24 jobs: 3 stacks of 8"
    assert describe(1, [1]) == "1 job: 1 alone"
    assert describe(3, [], done=3) == "3 jobs: 3 done already"


@pytest.mark.parametrize("jobs", range(1, 12))
@pytest.mark.parametrize("largest", [1, 3, 100])
@pytest.mark.parametrize("at_least", [1, 2])
def test_parts_are_even_and_hold_every_job_once(jobs, largest, at_least):
    split = parts(list(range(jobs)), largest, at_least)
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
def test_what_differs_in_numbers_alone_is_stacked(words):
    assert stack_key(compose(*words), 2) == stack_key(compose(), 2)


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
def test_what_has_another_shape_is_not(words):
    assert stack_key(compose(*words), 2) != stack_key(compose(), 2)


def test_a_reverse_kl_sees_the_targets_density():
    words = ["objective=reverse_kl"]
    assert stack_key(compose(*words, "target.noise=2"), 2) != stack_key(compose(*words), 2)


def test_files_are_told_apart_by_their_columns_and_by_standardization():
    words = ["target=file", "target.path=points.csv"]
    other_file = compose("target=file", "target.path=others.csv", "target.split_seed=1")
    assert stack_key(other_file, 2) == stack_key(compose(*words), 2)
    assert stack_key(other_file, 3) != stack_key(compose(*words), 2), "the columns are as many as the file has"
    assert stack_key(compose(*words, "target.standardize=false"), 2) != stack_key(compose(*words), 2)


def test_memory_grows_with_the_minibatch_and_the_flow():
    small = bytes_of_job(compose(), 2)
    assert bytes_of_job(compose("batch_size=5120"), 2) > 5 * small
    assert bytes_of_job(compose("flow.depth=60"), 2) > 5 * small
    assert bytes_of_job(compose("dtype=float64"), 2) == 2 * small
