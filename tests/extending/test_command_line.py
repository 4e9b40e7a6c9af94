"""Components of an installed package on the command line: training, sweeps, resuming, logging and figures."""

import json
import signal
import time
from pathlib import Path

import pandas
import pytest
import torch

from flowlab import load_run, load_sweep

CONDITIONAL = ("flow=affine_coupling", "target=rotated", "optimizer=lion", "objective=bounded_likelihood")
SMALL = ("batch_size=32", "test_size=200", "validation_size=200", "trainer.progress=off", "trainer.compile=false")
EVERY_20 = ("trainer.log_every=20", "trainer.validate_every=20", "trainer.checkpoint_every=20")
LOGGED = ("metrics=[median_log_prob]", "logger=[csv,json_lines]", "logger.json_lines.file=log.jsonl")
TIMED = ["seconds", "steps_per_second"]
RESUMED_STEPS = 1200


def wait_for_end(process, status=0):
    output, error = process.communicate(timeout=300)
    assert process.returncode == status, error
    assert "Traceback" not in error
    return output + error


def read_log(run):
    rows = [json.loads(line) for line in (run.directory / "log.jsonl").read_text().splitlines()]
    return [row for row in rows if "loss" in row], [row for row in rows if "loss" not in row]


@pytest.fixture(scope="module")
def whole_and_resumed(command_line, example, tmp_path_factory):
    """An uninterrupted run, the same run interrupted and resumed, and the step of the interruption."""
    directory = tmp_path_factory.mktemp("resumed")
    words = (
        *CONDITIONAL,
        *SMALL,
        *LOGGED,
        "flow.hidden=5",
        f"max_steps={RESUMED_STEPS}",
        "trainer.checkpoint_every=100",
    )
    wait_for_end(command_line(*words, "hydra.run.dir=whole", cwd=directory))
    process = command_line(*words, "hydra.run.dir=stopped", cwd=directory)
    while not (directory / "stopped/checkpoints/last.ckpt").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    wait_for_end(process, status=130)
    stopped_at = load_run(directory / "stopped").checkpoint("last")["global_step"]
    wait_for_end(command_line("resume=stopped", cwd=directory))
    return load_run(directory / "whole"), load_run(directory / "stopped"), stopped_at


class TestOneRun:
    """One run with a target, a flow, an objective, an optimizer, a metric and a logger of the package."""

    def test_run_lowers_the_kl(self, whole_and_resumed):
        whole, _, _ = whole_and_resumed
        first = whole.metrics["kl"].dropna().iloc[0]
        assert whole.result["kl"] < 0.6 * first
        assert whole.result["entropy"] == pytest.approx(whole.target.entropy)

    def test_configuration_keeps_every_setting(self, whole_and_resumed):
        config = whole_and_resumed[0].config.to_dict()
        assert config["flow"] == {"name": "affine_coupling", "layers": 2, "hidden": 5, "log_scale": 0.0}
        assert config["target"] == {"name": "rotated", "distance": 2.0, "train_size": None}
        assert config["objective"] == {"name": "bounded_likelihood", "floor": -20.0}
        assert config["optimizer"]["blend"] == 0.9
        assert config["logger"]["json_lines"] == {"name": "json_lines", "file": "log.jsonl"}

    def test_resumed_run_ends_at_same_bits(self, whole_and_resumed):
        whole, stopped, stopped_at = whole_and_resumed
        assert 0 < stopped_at < RESUMED_STEPS
        ours, theirs = whole.checkpoint("last")["state_dict"], stopped.checkpoint("last")["state_dict"]
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        pandas.testing.assert_frame_equal(whole.metrics.drop(columns=TIMED), stopped.metrics.drop(columns=TIMED))

    def test_the_metric_is_a_column_and_a_result(self, whole_and_resumed):
        for run in whole_and_resumed[:2]:
            assert run.metrics["median_log_prob"].notna().sum() == RESUMED_STEPS // 200
            assert run.result["median_log_prob"] > -run.result["nll"] - 1

    def test_logger_receives_rows_figures_and_final_status(self, whole_and_resumed):
        for run in whole_and_resumed[:2]:
            rows, others = read_log(run)
            assert [row["step"] for row in rows] == run.metrics["step"].tolist()
            assert [row["loss"] for row in rows] == run.metrics["loss"].tolist()
            assert others[-2:] == [{"step": RESUMED_STEPS, "figures": ["loss", "samples"]}, {"status": "success"}]
        assert {"status": "failed"} in read_log(whole_and_resumed[1])[1]

    def test_figures_are_drawn(self, whole_and_resumed):
        names = {path.stem for path in (whole_and_resumed[0].directory / "figures").iterdir()}
        assert names == {"loss", "samples"}

    def test_flow_depends_on_the_context(self, whole_and_resumed):
        flow, target = whole_and_resumed[0].flow, whole_and_resumed[0].target
        context = torch.tensor([[0.0], [1.0], [-1.0]])
        means = flow.sample((2000,), context).mean(0)
        assert (means - target._mean(context)).norm(dim=-1).max() < 0.5
        points = target.batch("test", 500, 1)
        shuffled = points.context.roll(1, 0)
        assert flow.log_prob(points.x, points.context).mean() > flow.log_prob(points.x, shuffled).mean() + 1


@pytest.fixture(scope="module")
def sweeps(command_line, example, tmp_path_factory):
    """A stacked sweep whose jobs differ in flow and optimizer settings, and one of its jobs alone."""
    directory = tmp_path_factory.mktemp("sweeps")
    words = (*CONDITIONAL, *SMALL, *EVERY_20, "max_steps=40", "logger=json_lines", "logger.json_lines.file=log.jsonl")
    swept = ("flow.log_scale=0,-0.5", "optimizer.blend=0.8,0.95")
    said = {}
    for name, launcher in {"stacked": ["hydra/launcher=stacked", "hydra.launcher.processes=1"], "alone": []}.items():
        few = swept if name == "stacked" else ("flow.log_scale=-0.5", "optimizer.blend=0.95")
        said[name] = wait_for_end(command_line("-m", *words, *few, *launcher, f"hydra.sweep.dir={name}", cwd=directory))
    return directory, said


class TestSweeps:
    def test_jobs_that_differ_in_per_job_settings_form_one_stack(self, sweeps):
        directory, said = sweeps
        assert "4 jobs: 1 stack of 4" in said["stacked"]
        assert "4 runs: 4 done" in said["stacked"]
        table = load_sweep(directory / "stacked")
        assert {"flow.log_scale", "optimizer.blend"} <= set(table)
        assert (directory / "stacked/summary.csv").exists()

    def test_stacked_job_equals_the_job_alone(self, sweeps):
        directory, _ = sweeps
        alone = {str(run.config.to_dict() | {"logger": None}): run for run in runs_below(directory / "alone")}
        stacked = {str(run.config.to_dict() | {"logger": None}): run for run in runs_below(directory / "stacked")}
        assert len(alone) == 1
        for name, run in alone.items():
            assert run.result["nll"] == pytest.approx(stacked[name].result["nll"], abs=2e-5)
        nlls = {round(run.result["nll"], 4) for run in stacked.values()}
        assert len(nlls) == 4

    def test_every_job_is_logged_and_drawn(self, sweeps):
        for run in runs_below(sweeps[0] / "stacked"):
            rows, others = read_log(run)
            assert [row["step"] for row in rows] == [20, 40]
            assert others[-1] == {"status": "success"}
            assert {path.stem for path in (run.directory / "figures").iterdir()} == {"loss", "samples"}

    def test_sweep_figures_are_drawn(self, sweeps):
        """These conditional flows have no density panels, only lines."""
        names = {path.stem for path in (sweeps[0] / "stacked/figures").iterdir()}
        assert names == {"kl_by_log_scale"}


def runs_below(directory: Path):
    return [load_run(path.parent) for path in sorted(directory.glob("*/config.yaml"))]


@pytest.mark.usefixtures("example")
def test_sweep_mixes_flows_of_the_package_and_of_flowlab(command_line, tmp_path):
    """The sweep is over a bijector of the package and a flow of flowlab, on a target of the package."""
    words = ("flow=sinh_arcsinh,smooth_prelu", "target=laplace", "target.scale=0.5", "max_steps=60")
    said = wait_for_end(command_line("-m", *words, *SMALL, "hydra.sweep.dir=sweep", cwd=tmp_path))
    assert "2 runs: 2 done" in said
    bijector, own = runs_below(tmp_path / "sweep")
    assert type(bijector.flow.bijector).__name__ == "SinhArcsinh"
    assert (bijector.config.flow.name, own.config.flow.name) == ("sinh_arcsinh", "mlp")
    assert bijector.result["kl"] < bijector.metrics["kl"].dropna().iloc[0] + 1
    assert {"samples", "density", "layers", "loss"} == {p.stem for p in (bijector.directory / "figures").iterdir()}
    assert (tmp_path / "sweep/figures/densities.png").exists()


def test_help_lists_components_of_the_package(command_line, tmp_path):
    lines = wait_for_end(command_line("--help", cwd=tmp_path)).splitlines()
    listed = {line.split()[0]: line.replace(",", "").split()[1:] for line in lines if line.startswith("  ")}
    expected = {
        "flow": {"affine_coupling", "sinh_arcsinh"},
        "target": {"laplace", "rotated"},
        "objective": {"bounded_likelihood"},
        "optimizer": {"lion"},
        "logger": {"json_lines"},
        "metrics=[...]": {"median_log_prob"},
    }
    for group, names in expected.items():
        assert names <= set(listed[group])
