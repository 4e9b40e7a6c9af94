"""Reference posteriors are read from a pinned wheel, and mistakes are named."""

import bz2
import hashlib
import zipfile

import numpy as np
import pytest

from flowlab.config.errors import DataError
from flowlab.config.registry import names
from flowlab.datasets import Wheel, load_posterior, posteriors


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """Return a function that puts a wheel with one observation of two_moons into an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def put():
        path = tmp_path / "made.whl"
        place = "sbibm/tasks/two_moons/files/num_observation_3"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{place}/observation.csv", "data_1,data_2\n0.5,-1\n")
            archive.writestr(f"{place}/true_parameters.csv", "parameter_1,parameter_2\n0.25,0.75\n")
            rows = bz2.compress(b"parameter_1,parameter_2\n1,2\n3,4\n5,6\n")
            archive.writestr(f"{place}/reference_posterior_samples.csv.bz2", rows)
        made = Wheel("sbibm", "1.1.0", hashlib.sha256(path.read_bytes()).hexdigest(), 0.1)
        made.path.parent.mkdir(parents=True)
        path.replace(made.path)
        monkeypatch.setattr(posteriors, "SBIBM", made)

    return put


def test_an_observation_is_read(wheel):
    wheel()
    reference = load_posterior("two_moons", 3)
    assert reference.observation.tolist() == [0.5, -1]
    assert reference.parameters.tolist() == [0.25, 0.75]
    np.testing.assert_array_equal(reference.samples, [[1, 2], [3, 4], [5, 6]])


@pytest.mark.parametrize(
    ("task", "observation", "message"),
    [
        ("two_moon", 1, "two_moon: there is no such reference posterior: did you mean 'two_moons'"),
        ("two_moons", 0, "observation=0: must be a number from 1 to 10"),
        ("two_moons", 1, r"sbibm==1.1.0, which is not here yet: load_posterior\('two_moons', 1, download=True\)"),
    ],
)
@pytest.mark.usefixtures("wheel")
def test_mistake_is_named(task, observation, message):
    with pytest.raises(DataError, match=message):
        load_posterior(task, observation)


def test_every_task_with_a_reference_has_a_simulator():
    assert set(posteriors.TASKS) <= set(names("task"))
