"""Training stops after a signal: no signal is lost, and a repeated signal counts once."""

import signal

import pytest

from flowlab.distributed import stopping
from flowlab.distributed.stopping import GracefulStop
from flowlab.distributed.world import World
from flowlab.system.signals import STOP_HANDLERS, Preempted, handle_signals


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
    monkeypatch.setattr(stopping.time, "monotonic", lambda: now)
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
