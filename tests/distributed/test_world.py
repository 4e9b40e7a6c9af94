"""The device and the rows of each rank, and the stop after a signal: no signal is lost, a repeated one counts once."""

import signal
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from flowlab import ConfigError, compose
from flowlab.distributed import world as module
from flowlab.distributed.world import SINGLE_PROCESS, GracefulStop, World, check_gpus, resolve_device
from flowlab.system.process import STOP_HANDLERS, Preempted, handle_signals


@pytest.mark.parametrize(
    ("accelerator", "usable", "device"),
    [
        ("cpu", True, "cpu"),
        ("cpu", False, "cpu"),
        ("gpu", True, "cuda:3"),
        ("gpu", False, "cuda:3"),  # refused by check_gpus
        ("auto", True, "cuda:3"),
        ("auto", False, "cpu"),
    ],
)
def test_the_accelerator_gives_the_device_of_a_rank(accelerator, usable, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: usable)
    assert resolve_device(accelerator, local_rank=3) == torch.device(device)


def test_missing_gpus_are_refused(monkeypatch):
    trainer = compose("trainer=ddp", "trainer.devices=4").trainer
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"trainer\.accelerator=gpu: no GPU .* use trainer\.accelerator=cpu"):
        check_gpus(trainer)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=r"trainer\.devices=4: .* only 2 GPUs; use trainer\.devices=2 or fewer"):
        check_gpus(trainer)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    check_gpus(trainer)


class Pair(NamedTuple):
    x: Tensor
    context: Tensor | None


def test_rank_r_of_n_takes_row_r_and_every_nth_row_after_it():
    rows = torch.arange(7)
    shards = [World(rank, 3).shard(rows) for rank in range(3)]
    assert [shard.tolist() for shard in shards] == [[0, 3, 6], [1, 4], [2, 5]]


def test_all_tensors_of_a_batch_are_sharded_alike():
    batch = Pair(torch.arange(7), torch.arange(14).reshape(7, 2))
    shard = World(1, 3).shard(batch)
    assert isinstance(shard, Pair)
    assert shard.x.tolist() == [1, 4]
    assert shard.context.tolist() == [[2, 3], [8, 9]]


def test_a_batch_without_context_keeps_none():
    assert World(1, 2).shard(Pair(torch.arange(4), None)).context is None


def test_a_single_process_keeps_all_rows():
    rows = torch.arange(7)
    assert torch.equal(SINGLE_PROCESS.all_gather(SINGLE_PROCESS.shard(rows), 7), rows)
    assert torch.equal(SINGLE_PROCESS.all_reduce_mean(rows), rows)
    assert SINGLE_PROCESS.all_reduce_max(1, 2.5) == [1, 2.5]
    assert SINGLE_PROCESS.broadcast_from_rank_zero(lambda: "made") == "made"


class TwoRanks(World):
    """Two ranks; the arguments are what the other rank sends."""

    def __init__(self, received=0, seconds=0.0, meanwhile=lambda: None):
        super().__init__(rank=0, size=2)
        for name, value in {"received": received, "seconds": seconds, "meanwhile": meanwhile}.items():
            object.__setattr__(self, name, value)

    def all_reduce_max(self, received, seconds):
        self.meanwhile()
        return [float(max(received, self.received)), max(seconds, self.seconds)]


def test_a_single_process_stops_after_the_current_step():
    stop = GracefulStop()
    taken = []
    for step in stop.iterate(range(100)):
        taken.append(step)
        if step == 3:
            stop._receive(signal.SIGINT, None)
    assert taken == [0, 1, 2, 3]
    assert stop.agree(1.0)


def test_all_ranks_stop_together():
    stop = GracefulStop(TwoRanks(received=signal.SIGTERM))
    assert list(stop.iterate(range(3))) == [0, 1, 2]
    assert stop.agree(1.0)
    with pytest.raises(KeyboardInterrupt), stop.raise_at_end():
        pass


def test_first_own_signal_after_a_signal_of_a_different_rank_does_not_raise():
    stop = GracefulStop(TwoRanks(received=signal.SIGTERM))
    assert stop.agree(1.0)
    stop._receive(signal.SIGTERM, None)  # arrives while this rank saves


def test_signal_during_agreement_counts_at_the_next_agreement():
    world = TwoRanks(meanwhile=lambda: stop._receive(signal.SIGINT, None))
    stop = GracefulStop(world)
    assert not stop.agree(1.0), "the other rank does not know of the signal"
    assert stop.agree(1.0)


def test_a_second_signal_takes_effect_at_once(monkeypatch):
    now = 10.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    stop = GracefulStop()
    stop._receive(signal.SIGINT, None)
    stop._receive(signal.SIGINT, None)  # a launcher passed on the same Ctrl-C
    now += 1.5
    with pytest.raises(KeyboardInterrupt):
        stop._receive(signal.SIGINT, None)


def test_slow_steps_shorten_a_call():
    stop = GracefulStop(TwoRanks(seconds=0.3))
    assert stop.steps == 1
    stop.agree(0.1)
    assert stop.steps == 3, "the slowest rank decides"
    assert list(range(10, 20)[: stop.steps]) == [10, 11, 12]
    assert GracefulStop().steps is None


def test_preemption_raises_its_own_error():
    stop = GracefulStop(preemption=True)
    with pytest.raises(Preempted), stop.raise_at_end():
        stop._receive(signal.SIGUSR1, None)


def test_a_signal_during_training_is_noted_and_the_handlers_return():
    stop = GracefulStop()
    with handle_signals(STOP_HANDLERS):
        with pytest.raises(KeyboardInterrupt), stop.raise_at_end():
            signal.raise_signal(signal.SIGTERM)
        assert stop.received == signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) == signal.default_int_handler
