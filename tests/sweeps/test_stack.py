"""Jobs trained in a stack equal the same jobs trained alone."""

import json
import shutil

import pandas
import pytest
import torch

from flowlab import compose, load_run, resume, train
from flowlab.sweeps.stack import train_stack
from flowlab.sweeps.train_many import stack_key, train_many
from flowlab.targets import Banana
from flowlab.training.build import build
from flowlab.training.divergence import DivergedError
from flowlab.training.loop import Loop

SMALL = ("trainer.progress=off", "test_size=500", "validation_size=500", "flow.depth=3", "batch_size=64")
VARIED = (
    ["seed=0"],
    ["seed=1", "optimizer.lr=0.003"],
    ["seed=2", "target.curvature=0.1", "flow.smoothness=0.5"],
    ["seed=3", "optimizer.schedule=constant", "flow.initial_slope=0.4"],
)


def list_files(run):
    return {str(path.relative_to(run.directory)) for path in run.directory.rglob("*") if path.is_file()}


# Batched kernels sum in a different order, so results differ by rounding from the first step on, and training makes
# the difference grow. Double precision shows that nothing else differs.
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-3)])
def test_stacked_job_equals_job_alone(tmp_path, dtype, tolerance):
    configs = [compose(*SMALL, "max_steps=500", f"dtype={dtype}", "optimizer.clip=5", *words) for words in VARIED]
    assert len({stack_key(config, Banana()) for config in configs}) == 1
    stacked = train_many(configs, [tmp_path / f"stacked{number}" for number in range(4)])
    for number, config in enumerate(configs):
        alone = train(config, tmp_path / f"alone{number}")
        together = stacked[number]
        assert list_files(together) == list_files(alone)
        assert together.status == alone.status
        assert set(together.result) == set(alone.result)
        assert together.result["kl"] == pytest.approx(alone.result["kl"], rel=100 * tolerance)
        first, second = together.checkpoint("last"), alone.checkpoint("last")
        assert first.keys() == second.keys()
        for name, tensor in second["state_dict"].items():
            torch.testing.assert_close(first["state_dict"][name], tensor, rtol=tolerance, atol=tolerance)
        moments = zip(*(part["optimizer_states"][0]["state"].values() for part in (first, second)), strict=True)
        for ours, theirs in moments:
            assert ours.keys() == theirs.keys()
            assert ours["step"] == theirs["step"]
            torch.testing.assert_close(ours["exp_avg"], theirs["exp_avg"], rtol=10 * tolerance, atol=10 * tolerance)
        columns = ["step", "loss", "nll", "kl", "lr", "grad_norm"]
        pandas.testing.assert_frame_equal(
            together.metrics[columns], alone.metrics[columns], rtol=100 * tolerance, atol=100 * tolerance
        )


def test_jobs_of_different_shapes_are_trained_in_separate_stacks(tmp_path, capfd):
    words = [["flow.depth=1"], ["flow.depth=2"], ["flow.depth=2", "seed=1"], ["flow.rank=0"]]
    configs = [compose(*SMALL, "max_steps=20", *each) for each in words]
    runs = train_many(configs, [tmp_path / str(number) for number in range(4)])
    assert [run.status["status"] for run in runs] == ["done"] * 4
    assert "4 jobs: 1 stack of 2, 2 alone" in capfd.readouterr().out


def test_diverging_job_does_not_stop_its_stack(tmp_path):
    words = [["seed=0"], ["seed=1", "optimizer.lr=1e200"], ["seed=2"]]
    configs = [compose(*SMALL, "max_steps=300", "optimizer.schedule=constant", "dtype=float64", *w) for w in words]
    runs = train_many(configs, [tmp_path / str(number) for number in range(3)])
    assert [run.status["status"] for run in runs] == ["done", "failed", "done"]
    assert not runs[1].result
    with pytest.raises(Exception, match="not finite at step") as alone:
        train(configs[1], tmp_path / "alone")
    assert runs[1].status["error"] == f"DivergedError: {alone.value}"
    reference = train(configs[2], tmp_path / "reference").load_flow("last").state_dict()
    for name, tensor in runs[2].load_flow("last").state_dict().items():
        torch.testing.assert_close(tensor, reference[name], rtol=1e-9, atol=1e-9)


def test_every_job_reports_points_outside_the_image(tmp_path):
    """Tanh has a bounded image and the banana is unbounded, so points are outside before the first step."""
    configs = [compose(*SMALL, "flow.activation=tanh", "flow.depth=3", f"seed={seed}") for seed in range(2)]
    runs = train_many(configs, [tmp_path / "0", tmp_path / "1"])
    for run in runs:
        assert run.status["status"] == "failed"
        assert "at step 0: a point lies outside the image of layer 4 of 5 (Tanh)" in run.status["error"]
    with pytest.raises(DivergedError) as alone:
        train(configs[1], tmp_path / "alone")
    assert runs[1].status["error"] == f"DivergedError: {alone.value}"


def test_stack_resumes_from_its_checkpoints_at_same_bits(tmp_path, monkeypatch):
    words = (*SMALL, "max_steps=400", "dtype=float64", "trainer.checkpoint_every=100")
    configs = [compose(*words, f"seed={seed}") for seed in range(2)]
    whole = train_many(configs, [tmp_path / f"whole{seed}" for seed in range(2)])

    class Killed(BaseException):
        pass

    def take_or_raise(self, step, rates, take=Loop._take):
        if step == 250:
            raise Killed
        return take(self, step, rates)

    with monkeypatch.context() as patch:  # after two checkpoints, halfway to the third
        patch.setattr(Loop, "_take", take_or_raise)
        with pytest.raises(Killed):
            train_many(configs, [tmp_path / f"stopped{seed}" for seed in range(2)])
    stopped = [load_run(tmp_path / f"stopped{seed}") for seed in range(2)]
    assert [run.checkpoint("last")["global_step"] for run in stopped] == [200, 200]
    train_stack([(run, build(run.config)) for run in stopped])
    for first, second in zip(whole, stopped, strict=True):
        for name, tensor in first.checkpoint("last")["state_dict"].items():
            assert torch.equal(tensor, second.checkpoint("last")["state_dict"][name])
        moments, others = (run.checkpoint("last")["optimizer_states"][0]["state"] for run in (first, second))
        for number, moment in moments.items():
            assert all(torch.equal(others[number][name], tensor) for name, tensor in moment.items())
        assert list(second.metrics["step"]) == [100, 200, 300, 400]
        assert second.status == {"status": "done"}


def assert_same_end(first, second):
    one, two = first.checkpoint("last"), second.checkpoint("last")
    assert one["global_step"] == two["global_step"]
    for name, tensor in one["state_dict"].items():
        assert torch.equal(tensor, two["state_dict"][name])
    assert first.result["nll"] == second.result["nll"]
    columns = ["step", "loss", "nll", "grad_norm"]
    pandas.testing.assert_frame_equal(first.metrics[columns], second.metrics[columns], check_exact=True)


def test_job_of_a_compiled_stack_has_the_same_bits_whatever_is_left_of_its_sweep(tmp_path, monkeypatch):
    """A job one checkpoint behind, one that is done, one that is not begun, and copies that fill a stack."""
    words = (*SMALL, "max_steps=300", "trainer.checkpoint_every=100", "trainer.compile=true", "flow.depth=1")
    configs = [compose(*words, f"seed={seed}") for seed in range(5)]
    whole, directories = tmp_path / "whole", [tmp_path / "stopped" / str(seed) for seed in range(5)]
    runs, said = [], []
    runs = train_many(configs, [whole / str(seed) for seed in range(5)], say=said.append)
    assert said == ["5 jobs: 1 stack of 3, 1 stack of 2"]
    assert all(run.result["compiled"] for run in runs)

    class Killed(BaseException):
        pass

    def train_until(last):
        def take_or_raise(self, step, rates, take=Loop._take):
            if step == last:
                raise Killed
            return take(self, step, rates)

        with monkeypatch.context() as patch:
            patch.setattr(Loop, "_take", take_or_raise)
            with pytest.raises(Killed):
                train_many(configs, directories)

    train_until(150)
    shutil.copytree(directories[1], tmp_path / "behind")
    train_until(250)
    shutil.rmtree(directories[1])
    (tmp_path / "behind").rename(directories[1])
    shutil.copytree(runs[0].directory, directories[0], dirs_exist_ok=True)
    steps = [run.checkpoint("last")["global_step"] for run in map(load_run, directories[:3])]
    assert steps == [300, 100, 200]
    assert not directories[3].exists()
    again = train_many(configs, directories, processes=2, say=said.append)
    assert said[-1] == "5 jobs: 1 done already, 1 stack of 2, 2 alone"
    for first, second in zip(runs, again, strict=True):
        assert_same_end(first, second)


def test_stacked_job_can_resume_alone(tmp_path):
    words = (*SMALL, "max_steps=200", "dtype=float64", "trainer.checkpoint_every=100")
    configs = [compose(*words, f"seed={seed}") for seed in range(2)]
    runs = train_many(configs, [tmp_path / str(seed) for seed in range(2)])
    first = runs[0].checkpoint("last")["state_dict"]
    (runs[0].directory / "status.json").write_text(json.dumps({"status": "interrupted"}))
    again = resume(runs[0].directory)
    assert all(torch.equal(first[name], tensor) for name, tensor in again.checkpoint("last")["state_dict"].items())


def test_stack_ends_when_all_jobs_have_diverged(tmp_path):
    words = (*SMALL, "max_steps=100000", "optimizer.lr=1e200", "optimizer.schedule=constant", "dtype=float64")
    runs = train_many([compose(*words, f"seed={seed}") for seed in range(2)], [tmp_path / "0", tmp_path / "1"])
    for run in runs:
        assert run.status["status"] == "failed"
        assert "not finite at step" in run.status["error"]


def test_fail_fast_interrupts_the_jobs_of_a_stack_and_they_resume(tmp_path):
    words = (*SMALL, "max_steps=3000", "optimizer.schedule=constant")
    configs = [compose(*words, f"optimizer.lr={lr}") for lr in (0.01, 1e30)]
    configs.append(compose(*words, "flow.depth=1"))  # not of the stack
    said = []
    runs = train_many(configs, [tmp_path / str(job) for job in range(3)], say=said.append, fail_fast=True)
    assert [run.status.get("status") for run in runs] == ["interrupted", "failed", None]
    assert said[-1] == f"{runs[1].directory}: failed, and hydra.launcher.fail_fast=true ends the sweep"
    assert 0 < runs[0].checkpoint("last")["global_step"] < 3000
    again = train_many(configs, [tmp_path / str(job) for job in range(3)], say=said.append)
    assert [run.status["status"] for run in again] == ["done", "failed", "done"]


def test_fail_fast_interrupts_other_processes(tmp_path):
    words = (*SMALL, "max_steps=10000000", "trainer.compile=false")
    configs = [compose(*words, "flow.depth=1"), compose(*words, "flow.depth=2", "optimizer.lr=1e30")]
    runs = train_many(configs, [tmp_path / "0", tmp_path / "1"], processes=2, say=lambda line: None, fail_fast=True)
    assert [run.status["status"] for run in runs] == ["interrupted", "failed"]
