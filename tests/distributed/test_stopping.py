"""How training is asked to stop: no signal is lost, and one is not taken for two."""

import signal

import pytest
import pytorch_lightning as pl
from pytorch_lightning.demos.boring_classes import BoringModel
from pytorch_lightning.plugins.environments import LightningEnvironment

from flowlab.distributed import stopping
from flowlab.distributed.stopping import GracefulStop
from flowlab.distributed.world import World
from flowlab.system.process import silence_lightning
from flowlab.system.signals import STOP_HANDLERS, Preempted, handle_signals


class Other(World):
    """Two ranks, of which the other one says what it is asked and how long its steps take."""

    def __init__(self, says=0, seconds=0.0, meanwhile=lambda: None):
        super().__init__(rank=0, size=2)
        for name, value in {"says": says, "seconds": seconds, "meanwhile": meanwhile}.items():
            object.__setattr__(self, name, value)

    def all_reduce_max(self, asked, seconds):
        self.meanwhile()
        return [float(max(asked, self.says)), max(seconds, self.seconds)]


def test_alone_it_ends_after_the_step_that_it_is_at():
    asked = GracefulStop()
    taken = []
    for step in asked.iterate(range(100)):
        taken.append(step)
        if step == 3:
            asked._receive(signal.SIGINT, None)
    assert taken == [0, 1, 2, 3]
    assert asked.agree(1.0)


def test_ranks_end_together():
    asked = GracefulStop(Other(says=signal.SIGTERM))
    assert list(asked.iterate(range(3))) == [0, 1, 2]
    assert asked.agree(1.0)
    with pytest.raises(KeyboardInterrupt), asked.raise_at_end():
        pass


def test_what_another_rank_was_asked_is_no_first_signal_of_this_one():
    asked = GracefulStop(Other(says=signal.SIGTERM))
    assert asked.agree(1.0)
    asked._receive(signal.SIGTERM, None)  # while it saves


def test_a_signal_while_the_ranks_agree_is_heard_the_next_time():
    world = Other(meanwhile=lambda: asked._receive(signal.SIGINT, None))
    asked = GracefulStop(world)
    assert not asked.agree(1.0), "the other rank does not know of it"
    assert asked.agree(1.0)


def test_a_second_signal_takes_effect_at_once(monkeypatch):
    now = 10.0
    monkeypatch.setattr(stopping.time, "monotonic", lambda: now)
    asked = GracefulStop()
    asked._receive(signal.SIGINT, None)
    asked._receive(signal.SIGINT, None)  # the same Ctrl-C, passed on by a launcher
    now += 1.5
    with pytest.raises(KeyboardInterrupt):
        asked._receive(signal.SIGINT, None)


def test_slow_steps_make_short_calls():
    asked = GracefulStop(Other(seconds=0.3))
    assert asked.steps == 1
    asked.agree(0.1)
    assert asked.steps == 3, "by the slowest rank"
    assert list(range(10, 20)[: asked.steps]) == [10, 11, 12]
    assert GracefulStop().steps is None


def test_preempted_is_not_interrupted():
    asked = GracefulStop(preemption=True)
    with pytest.raises(Preempted), asked.raise_at_end():
        asked._receive(signal.SIGUSR1, None)


def test_lightning_leaves_no_handler_of_its_own_when_training_fails(tmp_path, monkeypatch):
    """It would talk to the other ranks, from wherever this one is: most of all where one of them is gone."""
    monkeypatch.setattr(BoringModel, "training_step", lambda *_: 1 / 0)
    asked = GracefulStop()
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    alone = {"accelerator": "cpu", "plugins": [LightningEnvironment()]}
    trainer = pl.Trainer(callbacks=[asked], logger=False, default_root_dir=tmp_path, **alone, **quiet)

    def ended_while_it_fails():
        with asked.raise_at_end():
            with pytest.raises(ZeroDivisionError):
                trainer.fit(BoringModel())
            signal.raise_signal(signal.SIGTERM)
            assert asked.received == signal.SIGTERM

    with silence_lightning(), handle_signals(STOP_HANDLERS):
        with pytest.raises(KeyboardInterrupt):
            ended_while_it_fails()
        assert signal.getsignal(signal.SIGTERM) == signal.default_int_handler
