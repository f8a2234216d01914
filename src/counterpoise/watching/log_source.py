"""Follows somebody's log: text in any format that `logs` reads, or TensorBoard's event files."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from counterpoise.errors import UserError
from counterpoise.logs.folders import EVENT_FILES, EventFile
from counterpoise.logs.lines import LineReader
from counterpoise.logs.opening import refuse_binary
from counterpoise.logs.read import tells
from counterpoise.logs.runs import RunCollector
from counterpoise.watching.judge import Judge, Traces
from counterpoise.watching.options import WatchOptions
from counterpoise.watching.pace import Arrivals, patience_seconds, steps_per_second
from counterpoise.watching.state import GONE, UNKNOWN, UNREADABLE, State, Status, status_of
from counterpoise.watching.tail import HOLE, FileTail, Portion

NOTHING_KNOWN = (
    "nothing in it yet that is known: no losses, no outputs of D; where they have other names, say "
    "so, e.g. --map errD=d_loss"
)


class LogSource:
    """A text log of anybody's, in any format that `logs` reads."""

    def __init__(self, path: Path, options: WatchOptions) -> None:
        self._path, self._options = path, options
        self._tail, self._judge = FileTail(path), Judge(d_loss_is_mean=options.d_loss_is_mean)
        self._news = LogNews(str(path), options)
        self._begin()

    def _begin(self) -> None:
        options = self._options
        self._reader = LineReader(str(self._path), options.objective, options.mapping)
        self._problem = ""

    def poll(self) -> None:
        portion = self._tail.poll()
        if portion.anew:
            self._begin()
            self._judge.forget()
            self._news.forget()
        try:
            refuse_binary(self._tail.head.lstrip(HOLE), str(self._path))
            self._reader.feed(portion.lines)
        except UserError as error:
            self._problem = str(error)
        if portion.lines:
            self._judge.outdate()
        collectors = self._collectors()
        for collector in collectors:
            collector.drop_earlier()
        self._news.hear(portion, collectors)

    def _collectors(self) -> list[RunCollector]:
        if self._problem:
            return []
        try:
            return self._reader.collectors()
        except UserError as error:
            self._problem = str(error)
            return []

    def state(self, *, judge_now: bool) -> State:
        collectors = self._collectors()  # May find a problem.
        empty = self._reader.is_empty
        return self._news.state(self._judge, collectors, self._problem, judge_now, is_empty=empty)


class LogNews:
    """What a log that grows says beside its numbers: whether it grows, and how fast."""

    def __init__(self, source: str, options: WatchOptions) -> None:
        self._source, self._options = source, options
        self._portion = Portion()
        self.forget()

    def forget(self) -> None:
        """The log begins anew."""
        self._arrivals = Arrivals()
        self._step: int | None = None

    def hear(self, portion: Portion, collectors: list[RunCollector]) -> None:
        """A look at the log, and what it has by now."""
        self._portion = portion
        steps = [step for c in collectors if (step := c.last_step) is not None]
        self._step = max(steps, default=None)
        if self._step is not None and not portion.unread_bytes:
            now = self._options.clock() if len(self._arrivals) else portion.changed_at
            self._arrivals.add(now, self._step)

    def state(
        self,
        judge: Judge,
        collectors: list[RunCollector],
        problem: str,
        judge_now: bool,
        *,
        is_empty: bool,
    ) -> State:
        """The state.

        `problem` says what keeps the log from being read; `is_empty`: there was nothing to read.
        """

        def traces() -> Iterator[Traces]:
            for collector in collectors:
                found = collector.newest()
                if found is not None and tells(found[0]):
                    yield (*found, True)

        games = judge.games(traces, now=judge_now)
        problem = self._portion.problem or problem
        if problem:
            status = Status(UNREADABLE, problem.removeprefix(f"{self._source}: "))
        elif not self._portion.exists:
            status = Status(GONE, "the file is gone: waits for it to come back")
        elif not (games or is_empty or self._portion.unread_bytes):
            status = Status(UNKNOWN, NOTHING_KNOWN)
        else:
            changed_at = self._portion.changed_at
            quiet = self._options.clock() - changed_at if changed_at else 0.0
            status = status_of(
                self._source,
                step=self._step,
                total_steps=None,
                last=None,
                quiet_seconds=quiet,
                patience_seconds=patience_seconds(self._arrivals, (), self._options.stale_seconds),
                own_run=False,
            )
        notes = {note for game in games for note in (game.diagnosis or game.whole).notes}
        return State(
            source=self._source,
            status=status,
            step=self._step,
            steps_per_second=steps_per_second(self._arrivals, ()),
            games=games,
            notes=tuple(sorted(notes)),
            unread_bytes=self._portion.unread_bytes,
        )


class EventFilesSource:
    """TensorBoard event files: the newest of a folder, or one alone."""

    # A folder is looked through again so often.
    LOOK_SECONDS = 5.0

    def __init__(self, path: Path, options: WatchOptions) -> None:
        self._path, self._options = path, options
        self._judge = Judge(d_loss_is_mean=options.d_loss_is_mean)
        self._news = LogNews(str(path), options)
        self._newest: Path | None = None
        self._file: EventFile | None = None
        self._looked_at = 0.0
        self._collected: list[RunCollector] = []

    def poll(self) -> None:
        now = self._options.clock()
        if self._newest is None or now - self._looked_at >= self.LOOK_SECONDS:
            self._looked_at = now
            newest = self._newest_file()
            if newest != self._newest:
                self._newest, self._file, self._collected = newest, None, []
                self._judge.forget()
                self._news.forget()
        try:
            changed_at = 0.0 if self._newest is None else self._newest.stat().st_mtime
            self._read()
        except OSError as error:
            gone = isinstance(error, FileNotFoundError)
            problem = "" if gone else f"cannot be read ({error.strerror or error})"
            self._newest, self._file = None, None
            self._news.hear(Portion(exists=not gone, problem=problem), self._collected)
            return
        exists = self._newest is not None
        self._news.hear(Portion(exists=exists, changed_at=changed_at), self._collected)

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
            options, source = self._options, str(self._path)
            self._file = EventFile(self._newest, source, options.objective, options.mapping)
        if self._file.feed():
            self._collected = [self._file.collector()]
            self._judge.outdate()

    def state(self, *, judge_now: bool) -> State:
        state = self._news.state(self._judge, self._collected, "", judge_now, is_empty=False)
        if self._newest is None or self._newest == self._path:
            return state
        name = self._newest.relative_to(self._path)
        return replace(state, notes=(*state.notes, f"follows {name}, the newest event file"))
