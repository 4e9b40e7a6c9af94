"""The settings that may change when a run resumes on a different device or machine."""

from dataclasses import replace

from flowlab import compose
from flowlab.runs.begin import write_config
from flowlab.runs.directory import Run
from flowlab.runs.relocation import is_same_run, relocate
from flowlab.training.train import find_run


def test_device_settings_do_not_identify_a_run():
    config = compose("seed=3", "trainer.log_every=50")
    elsewhere = relocate(config, ["trainer=ddp_cpu", "trainer.compile=false"])
    assert (elsewhere.trainer.devices, elsewhere.trainer.compile, elsewhere.trainer.log_every) == (2, "false", 50)
    assert elsewhere != config
    assert is_same_run(config, elsewhere)
    assert not is_same_run(config, replace(elsewhere, seed=4))
    assert not is_same_run(config, relocate(compose("seed=3"), ["trainer=ddp_cpu"])), "log_every identifies a run"


def test_relocated_job_is_found_with_the_settings_of_its_sweep(tmp_path):
    config = compose("seed=3")
    write_config(Run(tmp_path, relocate(config, ["trainer.devices=4"])))
    assert find_run(tmp_path, config).config == config, "the sweep decides where it runs"
