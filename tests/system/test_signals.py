import os
import signal

import pytest

from flowlab.system.signals import TERMINABLE, handled


@pytest.fixture(autouse=True)
def _in_the_foreground():
    """As from a terminal, whatever the tests were started from: below nohup a process is deaf to its end."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_ends_a_process_ends_as_ctrl_c_does(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), handled(TERMINABLE):
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


def test_what_nohup_has_said_holds():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with handled(TERMINABLE):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
