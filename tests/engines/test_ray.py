"""Sweeps on the cluster that Ray starts on this machine."""

import uuid

import pytest


@pytest.fixture
def quiet():
    """Ray neither writes a token into the home directory nor reports its use."""
    return {"RAY_AUTH_TOKEN": uuid.uuid4().hex, "RAY_USAGE_STATS_ENABLED": "0"}


def test_the_same_numbers(same_as_locally, quiet):
    done = same_as_locally("sweep", "hydra/launcher=ray_cluster", **quiet)
    assert "Started a local Ray instance" in done.stderr


def test_one_job_fails(one_fails, quiet):
    one_fails("hydra/launcher=ray_cluster", **quiet)
