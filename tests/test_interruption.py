"""Signals, and what a training makes of them."""

import os
import signal
import time

import pytest

from counterpoise.training.interruption import StopRequest


def test_stop_request_turns_signals_into_a_wish():
    with StopRequest() as stop:
        stop.saves = True
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        assert stop.number == signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_at_once_what_has_nothing_to_save(number):
    with StopRequest(), pytest.raises(KeyboardInterrupt) as caught:
        os.kill(os.getpid(), number)
        time.sleep(1)
    assert caught.value.args == (number,)


def test_a_hangup_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.01)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, before)
