"""The numbers of a row, and what of them is saved between two rows."""

import json

import pytest
import torch
from flowlab.training.initial_flow import initial_flow
from flowlab.training.optimizer import learning_rate

from flowlab import compose
from flowlab.training.train import new_record


@pytest.fixture
def job():
    config = compose("max_steps=100", "trainer.log_every=10", "trainer.validate_every=50", "validation_size=50")
    target = config.target.build()
    return config, initial_flow(config, target), lambda: new_record(config, target, "cpu")


def test_a_row_tells_the_rate_of_its_step_and_the_pace_since_the_row_before(job):
    config, flow, new = job
    record = new()
    for step, seconds in ((10, 2.0), (20, 5.0)):
        record.add(torch.full((10,), float(step)), seconds)
        record.write(step, flow, 0.5, [])
        assert record.row["lr"] == learning_rate(config.optimizer, step - 1, 100), "steps count from 0"
        assert record.row["steps_per_second"] == pytest.approx(10 / seconds)
        assert (record.row["loss"], record.row["grad_norm"]) == (step, 0.5)
        assert "nll" not in record.row
    assert record.row["seconds"] == 7.0
    record.add(torch.zeros(30), 1.0)
    record.write(50, flow, 0.5, [])
    assert record.row["nll"] == record.held_out.nll


def test_saved_between_two_rows_it_goes_on_to_the_same_row(job):
    _, flow, new = job
    record = new()
    record.add(torch.ones(10), 2.0)
    record.write(10, flow, 0.5, [])
    record.add(torch.ones(4), 1.0)
    other = new()
    other.load_state_dict(json.loads(json.dumps(record.state_dict())))
    for each in (record, other):
        each.add(torch.zeros(6), 3.0)
        each.write(20, flow, 0.5, [])
    assert other.row == record.row
    assert record.row["loss"] == pytest.approx(0.4)
