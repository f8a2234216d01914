"""What is watched: a run folder, a log of any program, or what will become one."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from counterpoise.errors import UserError
from counterpoise.file_tail import FileTail, Portion
from counterpoise.logs.folders import EVENT_FILES, EventFile
from counterpoise.logs.lines import LOOK_BYTES, LineReader, encoding_of, refuse_binary
from counterpoise.logs.read import tells
from counterpoise.logs.runs import RunCollector
from counterpoise.run_folder import RunFolder
from counterpoise.run_rows import RunReader
from counterpoise.run_status import (
    GONE,
    UNKNOWN,
    UNREADABLE,
    WAITING,
    Status,
)
from counterpoise.trace import rows_by_discriminator
from counterpoise.watching.source import Source, Traces, WatchOptions
from counterpoise.watching.state import State, action_words, held_out_words

NOTHING_KNOWN = (
    "nothing in it yet that is known: no losses, no outputs of D; where they have other names, say "
    "so, e.g. --map errD=d_loss"
)


class RunSource(Source):
    """A run folder of ours, of a training or of a `Balance`."""

    def __init__(self, path: Path, options: WatchOptions) -> None:
        super().__init__(path, options)
        self.reader = RunReader(RunFolder(path), options.begin)
        self._signals = self.reader.signals

    def poll(self) -> None:
        reader = self.reader
        self._outdated |= reader.look()
        if reader.signals is not self._signals:
            self._signals = reader.signals
            self._begin()
        if not reader.unread_bytes:
            self._arrived(reader.signals.step, reader.changed_at)

    def _traces(self) -> Iterator[Traces]:
        reader, signals = self.reader, self.reader.signals
        said = self.options.objective or reader.objective, reader.policy
        whole = signals.whole(*said)
        judged = whole if self.options.judge_all else signals.latest(*said)
        yield from ((a, b, signals.has_d) for a, b in zip(whole, judged, strict=True))

    def state(self, *, judge_now: bool = False) -> State:
        reader, signals = self.reader, self.reader.signals
        step_seconds = reader.step_seconds()
        last = signals.recent[-1] if signals.recent else {}
        each = rows_by_discriminator(last) if last else {}
        rates = [("G", last.get("g_learning_rate"))]
        rates += [(f"D {d}".rstrip(), row.get("d_learning_rate")) for d, row in each.items()]
        actions = [
            (f"{d}: " if d else "") + action_words(reader.policy, row.get("action"))
            for d, row in each.items()
        ]
        return State(
            source=str(self.path),
            status=self._how_it_stands(step_seconds),
            stage=signals.stage,
            step=signals.step,
            planned_steps=reader.planned_steps,
            steps_per_second=self._arrivals.steps_per_second(step_seconds),
            policy=reader.policy,
            action="; ".join(actions),
            learning_rates=tuple((n, float(r)) for n, r in rates if isinstance(r, int | float)),
            games=self._judge(now=judge_now),
            held_out=held_out_words(reader.metrics, signals.stage),
            sample=max(reader.run.sample_files(), default=None),
            events=tuple(reader.events),
            notes=tuple(reader.notes()),
            unread_bytes=reader.unread_bytes,
            reader=reader,
        )

    def _how_it_stands(self, step_seconds: list[float]) -> Status:
        reader = self.reader
        if reader.problem:
            return Status(UNREADABLE, f"signals.jsonl {reader.problem}")
        if not os.path.isdir(self.path):  # It never raises, unlike that of a `Path`.
            return Status(GONE, "the folder is gone: waits for it to come back")
        return self._status(reader.signals.step, reader.changed_at, reader, step_seconds)


class LogSource(Source):
    """A text log, in any format that `logs` reads."""

    def __init__(self, path: Path, options: WatchOptions) -> None:
        self._tail, self._portion = FileTail(path, encoding_of), Portion()
        self._collected: list[RunCollector] = []
        self._note = ""
        super().__init__(path, options)

    def _begin(self) -> None:
        super()._begin()
        self._problem = ""  # what keeps it from being read
        self._reader = LineReader(self.options.mapping)

    def poll(self) -> None:
        portion = self._tail.poll()
        if portion.anew:
            self._begin()
        try:
            refuse_binary(self._tail.head, str(self.path))
            self._reader.feed(portion.lines)
            self._collected = self._reader.collectors()
        except UserError as error:
            self._collected, self._problem = [], str(error).removeprefix(f"{self.path}: ")
        for collector in self._collected:
            collector.drop_earlier()
        self._look_ended(portion, grown=bool(portion.lines))

    def _look_ended(self, portion: Portion, *, grown: bool) -> None:
        self._portion = portion
        self._outdated |= grown
        if not portion.unread_bytes:
            self._arrived(self._step, portion.changed_at)

    @property
    def _step(self) -> int | None:
        steps = [step for one in self._collected if (step := one.last_step) is not None]
        return max(steps, default=None)

    def _traces(self) -> Iterator[Traces]:
        for collector in self._collected:
            found = collector.newest()
            if found is not None and tells(found[0]):
                source, said = str(self.path), self.options.objective
                whole, latest = (
                    replace(trace, source=source, objective=said or trace.objective)
                    for trace in found
                )
                yield whole, latest, True

    def state(self, *, judge_now: bool = False) -> State:
        games = self._judge(now=judge_now)
        notes = {note for game in games for note in (game.diagnosis or game.whole).notes}
        return State(
            source=str(self.path),
            status=self._how_it_stands(nothing_known=not (games or self._reader.is_empty)),
            step=self._step,
            steps_per_second=self._arrivals.steps_per_second(),
            games=games,
            notes=(*sorted(notes), *([self._note] if self._note else [])),
            unread_bytes=self._portion.unread_bytes,
        )

    def _how_it_stands(self, *, nothing_known: bool) -> Status:
        portion = self._portion
        if problem := portion.problem or self._problem:
            return Status(UNREADABLE, problem)
        if not portion.exists:
            return Status(GONE, "the file is gone: waits for it to come back")
        if nothing_known and not portion.unread_bytes:
            return Status(UNKNOWN, NOTHING_KNOWN)
        return self._status(self._step, portion.changed_at)


class EventFilesSource(LogSource):
    """TensorBoard event files: the newest of a folder, or one alone."""

    def __init__(self, path: Path, options: WatchOptions) -> None:
        self._newest: Path | None = None
        self._file: EventFile | None = None
        super().__init__(path, options)

    def poll(self) -> None:
        try:
            newest = max(self._files(), key=lambda file: file.stat().st_mtime, default=None)
            if newest != self._newest:
                self._newest, self._collected = newest, []
                self._begin()
            if newest is None:
                self._look_ended(Portion(exists=False), grown=False)
                return
            if self._file is None:
                self._file = EventFile(newest, self.options.mapping)
            if grown := self._file.feed():
                self._collected = [self._file.collector()]
            self._look_ended(Portion(changed_at=newest.stat().st_mtime), grown=grown)
        except OSError as error:
            self._newest = None
            problem = f"cannot be read ({error.strerror or error})"
            self._look_ended(Portion(problem=problem), grown=False)

    def _begin(self) -> None:
        super()._begin()
        self._file = None

    def _files(self) -> list[Path]:
        files = self.path.rglob(EVENT_FILES) if self.path.is_dir() else [self.path]
        return [file for file in files if file.is_file()]  # a pipe would be waited for

    def state(self, *, judge_now: bool = False) -> State:
        if self._newest is not None and self._newest != self.path:
            name = self._newest.relative_to(self.path)
            self._note = f"follows {name}, the newest event file"
        return super().state(judge_now=judge_now)


def open_source(path: Path, options: WatchOptions) -> Source:
    """What is at a path, to be watched; `UserError` where there is nothing that can be."""
    try:
        return _source_at(path, options)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


def _source_at(path: Path, options: WatchOptions) -> Source:
    if path.is_dir():
        if (path / "config.yaml").is_file() or (path / "signals.jsonl").is_file():
            if options.mapping:
                raise UserError(
                    f"{path}: --map is for logs of other programs; this is a run folder"
                )
            return RunSource(path, options)
        if (path / "stats.jsonl").is_file():
            return LogSource(path / "stats.jsonl", options)
        if next(path.rglob(EVENT_FILES), None) is not None:
            return EventFilesSource(path, options)
        raise UserError(
            f"{path}: a folder without config.yaml, signals.jsonl, stats.jsonl or TensorBoard "
            "event files; give a run folder or a log file, or --wait for it to become one"
        )
    if not path.exists():
        raise UserError(
            f"{path}: no such file or folder; give a run folder or a log file, or --wait for it"
        )
    if not path.is_file():
        raise UserError(f"{path}: not a file that can be followed; pipe it into `diagnose -`")
    if ".tfevents." in path.name:
        return EventFilesSource(path, options)
    with path.open("rb") as file:
        refuse_binary(file.read(LOOK_BYTES), str(path))
    return LogSource(path, options)


class Watcher:
    """Looks at what is at a path, again and again."""

    def __init__(self, path: Path, wait: bool, options: WatchOptions | None = None) -> None:
        """`wait`: what is not there yet is waited for.

        Raises `UserError` where there is nothing to be watched, and none is to be waited for.
        """
        self._path, self._options = path, options or WatchOptions()
        self._source: Source | None = None
        if not wait:
            self._source = open_source(path, self._options)

    def look(self, *, judge_now: bool = False) -> State:
        """Read what is new, and say what there is."""
        if self._source is None:
            try:
                self._source = open_source(self._path, self._options)
            except UserError as error:
                why = str(error).removeprefix(f"{self._path}: ").partition(";")[0]
                return State(str(self._path), Status(WAITING, f"waits: {why}"))
        self._source.poll()
        return self._source.state(judge_now=judge_now)
