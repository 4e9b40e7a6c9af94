"""flowlab reads a run or sweep directory as data and runs no code from it."""

import json
import os

import pytest
import summarize
import torch

from flowlab import ConfigError, compose, load_run
from flowlab.config.untrusted import check_links, check_replayed, forget_pickles, read_plain_yaml
from flowlab.sweeps.manifest import Manifest


def write_checkpoint(path):
    torch.save({"flowlab": {"dim": 2}, "state_dict": {"flow.w": torch.zeros(3)}}, path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    {
        "seed: !!python/object/apply:os.system ['touch {mark}']": "could not determine a constructor",
        "seed: !!python/name:os.system": "could not determine a constructor",
        "a: &a [1, 2]\nb: [*a, *a]": "an alias",
        "seed: ${oc.env:HOME}": "seed='${oc.env:HOME}': a run directory holds plain values",
        "logger: {tags: [a, '${oc.env:HOME}']}": "logger.tags",
        "seed: ${hydra:runtime.cwd}": "plain values",
        "seed: \\${oc.env:HOME}": "plain values",
        "- 1": "does not hold a configuration",
        "a: [": "cannot be read",
    }.items(),
)
def test_yaml_with_code_aliases_or_interpolation_is_refused(text, complaint, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(text.replace("{mark}", str(tmp_path / "mark")))
    with pytest.raises(ConfigError) as refused:
        read_plain_yaml(path)
    assert complaint in str(refused.value)
    assert not (tmp_path / "mark").exists()


def test_loading_a_run_does_not_read_its_data_file(tmp_path, iris):
    """The missing checkpoint is the error, although the data file is missing as well."""
    config = compose("target=file", f"target.path={iris}").to_dict()
    config["target"]["path"] = str(tmp_path / "gone.csv")
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    run = load_run(tmp_path)
    with pytest.raises(ConfigError, match="no such checkpoint"):
        _ = run.flow


def test_terminal_control_characters_are_printed_escaped(tmp_path, capsys):
    (tmp_path / "0").mkdir()
    (tmp_path / "0/config.yaml").write_text(json.dumps(compose().to_dict()))
    (tmp_path / "0/status.json").write_text(json.dumps({"status": "failed", "error": "\x1b]52;c;ZXZpbA==\x07 \x9b31m"}))
    assert summarize.main([str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "\\x1b]52;c;ZXZpbA==\\x07 \\x9b31m" in said
    assert not any(control in said for control in "\x1b\x07\x9b")


def test_weights_cannot_be_a_path(tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text(json.dumps(compose().to_dict()))
    (run / "result.json").write_text('{"weights": "../../other"}')
    write_checkpoint(tmp_path / "other.ckpt")
    with pytest.raises(ConfigError, match=r"'../../other': no such checkpoint; allowed: last, best"):
        _ = load_run(run).flow


def test_pickles_in_a_sweep_directory_are_not_loaded(tmp_path):
    jobs = tmp_path / ".submitit/17"
    jobs.mkdir(parents=True)
    for name in ("17_0_result.pkl", "17_0_log.out"):
        (jobs / name).touch()
    forget_pickles(tmp_path)
    assert [path.name for path in jobs.iterdir()] == ["17_0_log.out"]


def test_links_out_of_a_directory_are_refused(tmp_path):
    run, outside = tmp_path / "run", tmp_path / "outside"
    (run / "deep").mkdir(parents=True)
    outside.mkdir()
    (run / "inside").symlink_to(run / "deep")
    check_links(run)
    (tmp_path / "link").symlink_to(run)
    check_links(tmp_path / "link")  # the user may name a directory through a link
    for name, target in {"a": outside, "deep/b": outside / "new", "c": "../outside", "d": "/etc/passwd"}.items():
        os.symlink(target, run / name)
        with pytest.raises(ConfigError, match=f"{name}: is a link out of"):
            check_links(run)
        (run / name).unlink()


@pytest.mark.parametrize(
    "word",
    [
        "hydra.launcher._target_=os.system",
        "hydra.launcher.setup=[evil]",
        "hydra.launcher.submitit_folder=/tmp/evil",
        "hydra.launcher.additional_parameters={wrap: evil}",
        "hydra.launcher.ray.init.runtime_env={}",
        "hydra.launcher.partition='a\nevil'",
        "hydra.launcher={setup: [evil]}",
        "+hydra.callbacks.x._target_=os.system",
        "hydra.sweeper.storage=sqlite:////tmp/evil.db",
        "hydra.searchpath=[file:///tmp]",
        "hydra.run.dir=/tmp/evil",
        "+hydra.job.env_set.LD_PRELOAD=evil",
        "hydra={callbacks: {}}",
        "+flow@hydra.callbacks=prelu",
        "seed=${oc.env:HOME}",
        "flow.depth='${oc.decode:${oc.env:HOME}}'",
        "logger.wandb.tags=[a,'${oc.env:HOME}']",
    ],
)
def test_unsafe_words_of_a_manifest_are_refused(word, tmp_path):
    with pytest.raises(ConfigError) as refused:
        check_replayed(tmp_path / "manifest.json", ["seed=0,1", word])
    assert f"{word}: a manifest may not ask for this" in str(refused.value)


def test_safe_words_of_a_manifest_are_replayed(tmp_path):
    words = ["+sweep=depth_rank", "seed=0,1", "hydra/launcher=slurm", "hydra.launcher.partition=gpu-a,b", "max_steps=9"]
    words += ["hydra.launcher.memory_gb=1.5", "validation_size=${test_size}", "hydra.sweep.dir='/tmp/a b'"]
    check_replayed(tmp_path / "manifest.json", words)


@pytest.mark.parametrize("directory", ["../0", "/tmp/evil", "..", ".", "", "a/b", "0/"])
def test_job_directory_outside_the_sweep_is_refused(directory, tmp_path):
    job = {"overrides": [], "directory": directory, "config": {}}
    (tmp_path / "manifest.json").write_text(json.dumps({"words": [], "seconds": 0, "jobs": [job]}))
    with pytest.raises(ConfigError, match="leads out of the sweep"):
        Manifest.read(tmp_path)
