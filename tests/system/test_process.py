import os
import signal

import pytest

from flowlab.system.process import STOP_HANDLERS, handle_signals


@pytest.fixture(autouse=True)
def _restore_sighup():
    """Handle SIGHUP as a process in a terminal does: under nohup the tests would ignore it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_and_sighup_act_as_ctrl_c(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), handle_signals(STOP_HANDLERS):
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


def test_sighup_stays_ignored_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with handle_signals(STOP_HANDLERS):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
