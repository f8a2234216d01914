"""Signals, and what a training makes of them."""

import signal

import pytest

from counterpoise.training.interruption import StopRequest


def test_stop_request_turns_signals_into_a_wish():
    """A second Ctrl-C ends at once."""
    with StopRequest() as stop:
        stop.saves = True
        assert not stop.requested
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert stop.number == signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_at_once_what_has_nothing_to_save(number):
    before = signal.signal(number, signal.SIG_DFL)  # `nohup make test` ignores a hangup
    try:
        with StopRequest(), pytest.raises(KeyboardInterrupt) as caught:
            signal.raise_signal(number)
        assert caught.value.args == (number,)
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_a_hangup_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, before)
