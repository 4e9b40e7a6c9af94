"""The time in the manifest of a sweep; tests of resuming check what the manifest refuses."""

import pytest

from flowlab.sweeps.manifest import Manifest


def test_manifest_adds_up_the_time_of_all_sessions(tmp_path):
    Manifest(tmp_path, ["seed=0,1"], [], seconds=12.5).write(2.0)
    again = Manifest.read(tmp_path)
    assert (again.words, again.jobs, again.seconds) == (["seed=0,1"], [], 14.5)
    with pytest.raises(KeyboardInterrupt), again.timed():
        raise KeyboardInterrupt
    assert 14.5 <= Manifest.read(tmp_path).seconds < 15.5
