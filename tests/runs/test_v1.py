"""Runs and a sweep of version 1 load, resume to the results of version 1, and can be summarized."""

import json
import shutil
from pathlib import Path

import pandas
import pytest
import torch
import yaml

from flowlab import load_run, load_sweep, resume
from flowlab.cli.main import main

STORED = Path(__file__).parents[1] / "data" / "v1"
EXPECTED = json.loads((STORED / "expected.json").read_text())
COLUMNS = ["step", "loss", "nll", "nll_se", "kl", "bits_per_dim", "inverse_error", "grad_norm", "lr"]


def copy_stored(name, directory):
    """Copy a stored run or sweep and make the path of its data file absolute, as in the original run."""
    copy = Path(shutil.copytree(STORED / name, directory / name))
    for path in copy.rglob("config.yaml"):
        values = yaml.safe_load(path.read_text())
        if "path" in values["target"]:
            values["target"]["path"] = str(STORED / values["target"]["path"])
            path.write_text(yaml.safe_dump(values, sort_keys=False))
    return copy


def close(value):
    return pytest.approx(value, rel=1e-5)


def test_finished_run_loads(tmp_path):
    run = load_run(copy_stored("eager", tmp_path))
    assert run.done
    assert (run.config.flow.initialization, run.config.flow.initial_slope) == ("near_identity", 0.8)
    assert run.config.trainer.launcher == "flowlab"
    assert run.config.metrics == []
    assert list(run.config.logger) == ["wandb"]
    assert run.config.logger["wandb"].mode == "disabled"
    assert run.result["nll"] == 5.83530383348465
    assert list(run.metrics["step"]) == [50, 100, 150, 200, 250, 300]
    test = run.target.rows("test", 200, run.config.seed, torch.float64).float()
    log_prob = run.flow.log_prob(test)
    assert log_prob.shape == (200,)
    assert -log_prob.double().mean().item() == close(run.result["nll"])
    assert run.flow.sample((3,)).shape == (3, 2)
    validation = run.target.rows("validation", 200, run.config.seed)
    best = -run.load_flow("best").log_prob(validation).double().mean().item()
    assert best == close(run.metrics["nll"].min())


@pytest.mark.parametrize("name", ["file_killed", "reverse_killed"])
def test_killed_run_resumes_to_the_same_results(tmp_path, name):
    before = pandas.read_csv(STORED / name / "metrics.csv")
    assert not load_run(copy_stored(name, tmp_path / "before")).done
    run = resume(copy_stored(name, tmp_path))
    assert run.done
    for key, value in EXPECTED[name].items():
        assert run.result[key] == close(value), key
    after = run.metrics
    pandas.testing.assert_frame_equal(after[: len(before)][COLUMNS], before[COLUMNS], check_exact=True)
    assert list(after["step"]) == list(range(50, EXPECTED[name]["steps"] + 1, 50))
    again = load_run(run.directory)
    assert again.config == run.config
    assert (again.directory / "figures" / "samples.png").exists()


def test_config_of_a_resumed_run_has_current_names(tmp_path):
    copy = copy_stored("reverse_killed", tmp_path)
    resume(copy)
    text = (copy / "config.yaml").read_text()
    assert "initialization: near_identity" in text
    assert not any(f"{old}:" in text for old in ("slope_start", "  start", "started_by"))


def test_half_finished_sweep_resumes_and_is_summarized(tmp_path, capsys):
    directory = copy_stored("sweep_killed", tmp_path)
    done = {path: path.read_bytes() for path in directory.glob("[23]/*.json")}
    assert main(["-m", f"sweep_resume={directory}"]) == 0
    assert "4 jobs: 2 done already, 1 stack of 2" in capsys.readouterr().err
    assert all(path.read_bytes() == content for path, content in done.items()), "finished runs do not change"
    table = load_sweep(directory)
    assert list(table["flow.depth"]) == [2, 2, 3, 3]
    assert list(table["seed"]) == [0, 1, 0, 1]
    assert list(table["status"]) == ["done"] * 4
    summary = pandas.read_csv(directory / "summary.csv")
    for number in range(4):
        expected = EXPECTED[f"sweep_killed/{number}"]
        assert table["nll"][number] == close(expected["nll"])
        assert table["kl"][number] == close(expected["kl"])
        assert table["steps"][number] == expected["steps"]
        assert summary["kl"][number] == close(expected["kl"])
