"""Ctrl-C, SIGTERM and a closed terminal ask a training to save and stop."""

import contextlib
import signal
import threading
from types import FrameType
from typing import Self

# A closed terminal's signal is not known everywhere.
SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class StopRequest(contextlib.ExitStack):
    """A context in which SIGINT, SIGTERM and SIGHUP set `requested` and end nothing.

    Before `saves` is set they raise `KeyboardInterrupt(number)` at once, since there is nothing
    to save; so does a second Ctrl-C. Of a process that was started to ignore SIGHUP (`nohup`),
    it stays ignored.
    """

    def __init__(self) -> None:
        super().__init__()
        # Whether there is a state that would be saved.
        self.saves = False
        # The first signal that came.
        self.number: int | None = None

    @property
    def requested(self) -> bool:
        """Whether the training was asked to stop."""
        return self.number is not None

    def __enter__(self) -> Self:
        # Python allows signal handlers in the main thread only.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
                    before = signal.signal(number, self._on_signal)
                    self.callback(signal.signal, number, before)
        return self

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        again = self.requested and number == signal.SIGINT
        if self.number is None:
            self.number = number
        if again or not self.saves:
            raise KeyboardInterrupt(number)
