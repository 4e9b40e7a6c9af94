"""A compiled step: the numbers of an eager one, resumed and stacked too, and a choice that does not waver."""

import json

import pytest
import torch
from flowlab.training.initial_flow import initial_flow
from torch._dynamo.utils import counters

from flowlab import ConfigError, compose, load_run, resume, train
from flowlab.sweeps.train_many import train_many
from flowlab.training.compile import choose
from flowlab.training.divergence import DivergedError, describe_divergence

SMALL = ("trainer.progress=off", "test_size=500", "validation_size=500", "flow.depth=2", "batch_size=64")


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    """What is compiled here is forgotten afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
        yield
    torch._dynamo.reset()


def weights(run, name="last"):
    return run.load_flow(name).state_dict()


def assert_same(first, second, tolerance):
    for name, tensor in weights(first).items():
        torch.testing.assert_close(weights(second)[name], tensor, rtol=tolerance, atol=tolerance)


# In single precision training makes the difference of one rounding grow, 200 steps to about 1e-4.
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-3)])
def test_compiled_equals_eager(tmp_path, dtype, tolerance):
    words = (*SMALL, "max_steps=200", f"dtype={dtype}", "trainer.steps_per_call=7", "optimizer.clip=5")
    eager = train(compose(*words, "trainer.compile=false"), tmp_path / "eager")
    compiled = train(compose(*words, "trainer.compile=true"), tmp_path / "compiled")
    assert_same(eager, compiled, tolerance)
    assert compiled.result["kl"] == pytest.approx(eager.result["kl"], rel=100 * tolerance)
    for column in ("step", "loss", "nll", "kl", "lr", "grad_norm"):
        pairs = zip(compiled.metrics[column].dropna(), eager.metrics[column].dropna(), strict=True)
        assert all(ours == pytest.approx(theirs, rel=100 * tolerance) for ours, theirs in pairs), column
    first, second = eager.checkpoint("last"), compiled.checkpoint("last")
    assert first["loops"] == second["loops"]
    assert first["optimizer_states"][0]["param_groups"] == second["optimizer_states"][0]["param_groups"]
    assert (eager.result["compiled"], compiled.result["compiled"]) == (False, True)


def test_what_was_compiled_once_is_not_compiled_again(tmp_path):
    words = (*SMALL, "max_steps=10", "dtype=float64", "trainer.compile=true")
    train(compose(*words), tmp_path / "first")
    counters.clear()
    train(compose(*words, "seed=1", "optimizer.lr=0.001", "flow.smoothness=0.5"), tmp_path / "second")
    assert counters["inductor"]["fxgraph_cache_hit"] == 1
    assert not counters["inductor"]["fxgraph_cache_miss"]


def test_a_compiled_run_goes_on_bit_for_bit(tmp_path, monkeypatch):
    words = (*SMALL, "max_steps=120", "dtype=float64", "trainer.compile=true", "trainer.checkpoint_every=50")
    whole = train(compose(*words), tmp_path / "whole")
    with monkeypatch.context() as patch:
        import flowlab.training.module as module

        def stop_at_100(config, start, usual=module.end_of_call):
            if start >= 100:
                raise KeyboardInterrupt
            return usual(config, start)

        patch.setattr(module, "end_of_call", stop_at_100)
        with pytest.raises(KeyboardInterrupt):
            train(compose(*words), tmp_path / "stopped")
    assert load_run(tmp_path / "stopped").checkpoint("last")["global_step"] == 100
    assert all(
        torch.equal(weights(whole)[name], tensor) for name, tensor in weights(resume(tmp_path / "stopped")).items()
    )


def test_a_compiled_run_that_diverges_says_where(tmp_path):
    words = (*SMALL, "max_steps=300", "dtype=float64", "optimizer.lr=1e200", "optimizer.schedule=constant")
    messages = []
    for choice in ("false", "true"):
        with pytest.raises(DivergedError) as caught:
            train(compose(*words, f"trainer.compile={choice}"), tmp_path / choice)
        messages.append(str(caught.value))
        saved = load_run(tmp_path / choice)
        assert saved.status["status"] == "failed"
    assert messages[0] == messages[1]


def test_a_gradient_that_is_not_finite_is_not_called_a_loss():
    config = compose(*SMALL)
    target = config.target.build()
    flow = initial_flow(config, target)
    points = target.sample(8, torch.Generator().manual_seed(0))
    assert describe_divergence(flow, points, 7, True) == "the gradient is not finite at step 7, though the loss is"
    points[3] = torch.nan
    assert describe_divergence(flow, points, 7, True).startswith(
        "the loss is not finite at step 7: the minibatch itself"
    )


def test_a_compiled_stack_trains_what_its_jobs_do_alone(tmp_path):
    words = (*SMALL, "max_steps=100", "dtype=float64")
    jobs = [["seed=0"], ["seed=1", "optimizer.lr=0.003"], ["seed=2", "flow.smoothness=0.5"]]
    stacked = train_many(
        [compose(*words, "trainer.compile=true", *each) for each in jobs], [tmp_path / str(n) for n in range(3)]
    )
    for number, each in enumerate(jobs):
        alone = train(compose(*words, "trainer.compile=false", *each), tmp_path / f"alone{number}")
        assert_same(alone, stacked[number], 1e-10)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("jobs", [1, 2])
def test_on_a_gpu_a_run_and_a_stack_are_those_of_the_processor(tmp_path, jobs):
    """On the same draws, which the two devices make differently: so of finite data, whose order comes from the CPU."""
    words = (*SMALL, "max_steps=60", "dtype=float64", "target.train_size=200", "trainer.compile=true")
    trained = {
        trainer: train_many(
            [compose(*words, f"trainer={trainer}", f"seed={seed}") for seed in range(jobs)],
            [tmp_path / f"{trainer}{seed}" for seed in range(jobs)],
        )
        for trainer in ("cpu", "gpu")
    }
    for ours, theirs in zip(trained["gpu"], trained["cpu"], strict=True):
        assert ours.status == {"status": "done"}
        assert_same(theirs, ours, 1e-8)


def test_auto_compares_what_it_saves_with_what_it_takes():
    assert not choose(compose("trainer.compile=auto")).compiled
    long = choose(compose("trainer.compile=auto", "max_steps=100000"))
    assert long.compiled
    assert "over 100000 steps it would save about" in long.why
    assert not choose(compose("max_steps=100000"), stacked=True).compiled
    assert choose(compose("max_steps=1", "trainer.compile=true"), stacked=True).compiled
    assert not choose(compose("max_steps=1000000", "trainer.compile=false")).compiled


def test_without_a_compiler_auto_does_without_and_true_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    choice = choose(compose("trainer.compile=auto", "max_steps=100000"))
    assert not choice.compiled
    assert "there is no C++ compiler 'no-such-compiler'" in choice.why
    with pytest.raises(ConfigError, match=r"trainer.compile=true: there is no C\+\+ compiler 'no-such-compiler'"):
        train(compose("trainer.compile=true"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_pythons_headers_too(monkeypatch):
    monkeypatch.setattr("sysconfig.get_path", lambda name: "/nowhere")
    choice = choose(compose("trainer.compile=auto", "max_steps=100000"))
    assert not choice.compiled
    assert choice.why.endswith("but there is no Python.h, the headers of Python for C")


@pytest.mark.parametrize("value", ["yes", "1", "null", "'True'"])
def test_other_words_are_refused(value):
    with pytest.raises(ConfigError, match=r"trainer\.compile="):
        compose(f"trainer.compile={value}")


def test_a_run_from_before_the_choice_goes_on_eagerly(tmp_path):
    run = train(compose(*SMALL, "max_steps=10", "trainer.compile=false"), tmp_path / "run")
    path = run.directory / "config.yaml"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "compile:" not in line))
    (run.directory / "status.json").write_text(json.dumps({"status": "interrupted"}))
    assert not choose(load_run(run.directory).config).compiled
    assert resume(run.directory).done
