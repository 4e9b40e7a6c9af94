"""Sweeps on a Ray cluster that starts on this machine."""

import uuid

import pytest


@pytest.fixture
def quiet_ray():
    """The environment in which Ray writes no token into the home directory and reports no usage."""
    return {"RAY_AUTH_TOKEN": uuid.uuid4().hex, "RAY_USAGE_STATS_ENABLED": "0"}


def test_ray_sweep_equals_local_sweep(check_equals_local_sweep, quiet_ray):
    done = check_equals_local_sweep("sweep", "hydra/launcher=ray_cluster", **quiet_ray)
    assert "Started a local Ray instance" in done.stderr


def test_failed_job_on_ray_does_not_stop_others(check_one_failed_job, quiet_ray):
    check_one_failed_job("hydra/launcher=ray_cluster", **quiet_ray)
