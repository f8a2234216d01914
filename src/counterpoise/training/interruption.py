"""Ctrl-C, SIGTERM and a closed terminal ask a training to save and stop."""

import signal
import threading
from types import FrameType, TracebackType

# A closed terminal's signal is not known everywhere.
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class StopRequest:
    """A context in which SIGINT, SIGTERM and SIGHUP set `requested` and end nothing.

    Before `saves` is set they raise `KeyboardInterrupt(number)` at once, since there is nothing
    to save; so does a second Ctrl-C. Of a process that was started to ignore SIGHUP (`nohup`),
    it stays ignored.
    """

    def __init__(self) -> None:
        # Whether there is a state that would be saved.
        self.saves = False
        # The first signal that came.
        self.number: int | None = None
        self._previous: dict[signal.Signals, object] = {}

    @property
    def requested(self) -> bool:
        """Whether the training was asked to stop."""
        return self.number is not None

    def __enter__(self) -> "StopRequest":
        # Python allows signal handlers in the main thread only.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if number != signal.SIGINT and signal.getsignal(number) == signal.SIG_IGN:
                    continue
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        again = self.requested and number == signal.SIGINT
        if self.number is None:
            self.number = number
        if again or not self.saves:
            raise KeyboardInterrupt(number)
