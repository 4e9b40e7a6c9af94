"""The settings of a run that may change when it resumes elsewhere."""

from dataclasses import replace

from flowlab import compose
from flowlab.runs.begin import write_config
from flowlab.runs.directory import Run
from flowlab.runs.relocation import is_same_run, relocate
from flowlab.training.train import find_run


def test_a_run_is_the_same_wherever_it_computes():
    config = compose("seed=3", "trainer.log_every=50")
    elsewhere = relocate(config, ["trainer=ddp_cpu", "trainer.compile=false"])
    assert (elsewhere.trainer.devices, elsewhere.trainer.compile, elsewhere.trainer.log_every) == (2, "false", 50)
    assert elsewhere != config
    assert is_same_run(config, elsewhere)
    assert not is_same_run(config, replace(elsewhere, seed=4))
    assert not is_same_run(config, relocate(compose("seed=3"), ["trainer=ddp_cpu"])), "it logs at other steps"


def test_a_job_of_a_sweep_that_resumed_elsewhere_is_still_that_job(tmp_path):
    config = compose("seed=3")
    write_config(Run(tmp_path, relocate(config, ["trainer.devices=4"])))
    assert find_run(tmp_path, config).config == config, "it resumes where the sweep says"
