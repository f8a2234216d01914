"""Follows a log of any program: text in any format that `logs` reads, or TensorBoard's files."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from counterpoise.errors import UserError
from counterpoise.file_tail import HOLE, FileTail, Portion
from counterpoise.logs.folders import EVENT_FILES, EventFile
from counterpoise.logs.lines import LineReader
from counterpoise.logs.opening import encoding_of, refuse_binary
from counterpoise.logs.read import tells
from counterpoise.logs.runs import RunCollector
from counterpoise.pages.run import PageRun, log_run
from counterpoise.run_status import (
    GONE,
    UNKNOWN,
    UNREADABLE,
    Status,
    patience_seconds,
    status_of,
)
from counterpoise.watching.judge import Judge, Traces, WatchOptions
from counterpoise.watching.pace import Arrivals
from counterpoise.watching.state import State

NOTHING_KNOWN = (
    "nothing in it yet that is known: no losses, no outputs of D; where they have other names, say "
    "so, e.g. --map errD=d_loss"
)


class _Followed:
    """A log that grows: its games judged, whether it grows, and how fast."""

    def __init__(self, path: Path, options: WatchOptions) -> None:
        self._path, self._source, self._options = path, str(path), options
        self._judge, self._portion = Judge(options), Portion()
        self._collected: list[RunCollector] = []
        self._problem = ""  # what keeps it from being read
        self._is_empty = False  # there was nothing to read
        self._begin()

    def _begin(self) -> None:
        """The log begins (anew)."""
        self._arrivals = Arrivals()
        self._step: int | None = None
        self._judge.forget()

    def _hear(self, portion: Portion) -> None:
        """A look at the log, after what it has by now was collected."""
        self._portion = portion
        steps = [step for c in self._collected if (step := c.last_step) is not None]
        self._step = max(steps, default=None)
        if self._step is not None and not portion.unread_bytes:
            now = self._options.clock() if len(self._arrivals) else portion.changed_at
            self._arrivals.add(now, self._step)

    def state(self, *, judge_now: bool) -> State:
        games = self._judge.games(self._traces, now=judge_now)
        notes = {note for game in games for note in (game.diagnosis or game.whole).notes}
        return State(
            source=self._source,
            status=self._status(nothing_known=not (games or self._is_empty)),
            step=self._step,
            steps_per_second=self._arrivals.steps_per_second(),
            games=games,
            notes=tuple(sorted(notes)),
            unread_bytes=self._portion.unread_bytes,
        )

    def page_run(self) -> PageRun:
        return page_of(self.state(judge_now=False))

    def _traces(self) -> Iterator[Traces]:
        for collector in self._collected:
            found = collector.newest()
            if found is not None and tells(found[0]):
                yield (*found, True)

    def _status(self, *, nothing_known: bool) -> Status:
        portion, options = self._portion, self._options
        if problem := portion.problem or self._problem:
            return Status(UNREADABLE, problem.removeprefix(f"{self._source}: "))
        if not portion.exists:
            return Status(GONE, "the file is gone: waits for it to come back")
        if nothing_known and not portion.unread_bytes:
            return Status(UNKNOWN, NOTHING_KNOWN)
        gap = self._arrivals.longest_gap_seconds()
        return status_of(
            self._source,
            (),
            step=self._step,
            planned_steps=None,
            quiet_seconds=options.clock() - portion.changed_at if portion.changed_at else 0.0,
            patience=patience_seconds((), gap, options.stale_seconds),
            own_run=False,
        )


class LogSource(_Followed):
    """A text log, in any format that `logs` reads."""

    def __init__(self, path: Path, options: WatchOptions) -> None:
        self._tail = FileTail(path, encoding_of)
        super().__init__(path, options)

    def _begin(self) -> None:
        super()._begin()
        self._problem = ""
        self._reader = LineReader(self._source, self._options.objective, self._options.mapping)

    def poll(self) -> None:
        portion = self._tail.poll()
        if portion.anew:
            self._begin()
        self._collected = []
        try:
            refuse_binary(self._tail.head.lstrip(HOLE), self._source)
            self._reader.feed(portion.lines)
            self._collected = [] if self._problem else self._reader.collectors()
        except UserError as error:
            self._problem = str(error)
        if portion.lines:
            self._judge.outdate()
        for collector in self._collected:
            collector.drop_earlier()
        self._is_empty = self._reader.is_empty
        self._hear(portion)


class EventFilesSource(_Followed):
    """TensorBoard event files: the newest of a folder, or one alone."""

    # A folder is looked through again so often.
    LOOK_SECONDS = 5.0

    def __init__(self, path: Path, options: WatchOptions) -> None:
        super().__init__(path, options)
        self._newest: Path | None = None
        self._file: EventFile | None = None
        self._looked_at = 0.0

    def poll(self) -> None:
        now = self._options.clock()
        if self._newest is None or now - self._looked_at >= self.LOOK_SECONDS:
            self._looked_at = now
            newest = self._newest_file()
            if newest != self._newest:
                self._newest, self._file, self._collected = newest, None, []
                self._begin()
        try:
            changed_at = 0.0 if self._newest is None else self._newest.stat().st_mtime
            self._read()
        except OSError as error:
            gone = isinstance(error, FileNotFoundError)
            problem = "" if gone else f"cannot be read ({error.strerror or error})"
            self._newest, self._file = None, None
            self._hear(Portion(exists=not gone, problem=problem))
            return
        self._hear(Portion(exists=self._newest is not None, changed_at=changed_at))

    def _newest_file(self) -> Path | None:
        if not self._path.is_dir():
            return self._path if self._path.is_file() else None
        dated = []
        for file in self._path.rglob(EVENT_FILES):
            try:
                if file.is_file():  # a pipe would be waited for
                    dated.append((file.stat().st_mtime, file))
            except OSError:  # It was there a moment ago.
                continue
        return max(dated, default=(0.0, None))[1]

    def _read(self) -> None:
        if self._newest is None:
            return
        if self._file is None:
            options = self._options
            self._file = EventFile(self._newest, self._source, options.objective, options.mapping)
        if self._file.feed():
            self._collected = [self._file.collector()]
            self._judge.outdate()

    def state(self, *, judge_now: bool) -> State:
        state = super().state(judge_now=judge_now)
        if self._newest is None or self._newest == self._path:
            return state
        name = self._newest.relative_to(self._path)
        return replace(state, notes=(*state.notes, f"follows {name}, the newest event file"))


def page_of(state: State) -> PageRun:
    """A watched log as a page shows it."""
    run = log_run(state.source, [(game.whole, game.diagnosis) for game in state.games])
    run.status, run.progress, run.notes = state.status, state.progress, list(state.notes)
    return run
