"""What is watched: a run folder, a log file, or what will become one."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from counterpoise.errors import UserError
from counterpoise.file_tail import HOLE
from counterpoise.logs.folders import EVENT_FILES
from counterpoise.logs.opening import LOOK_BYTES, refuse_binary
from counterpoise.pages.run import BookedRun, PageRun
from counterpoise.run_folder import RunFolder
from counterpoise.run_rows import RunReader
from counterpoise.run_status import (
    GONE,
    UNREADABLE,
    WAITING,
    Status,
    patience_seconds,
    status_of,
)
from counterpoise.trace import rows_by_discriminator
from counterpoise.watching.judge import Judge, Traces, WatchOptions
from counterpoise.watching.log_sources import EventFilesSource, LogSource, page_of
from counterpoise.watching.pace import Arrivals
from counterpoise.watching.state import State, action_words, held_out_words

# Of the samples, on a page that follows.
SAMPLE_BYTES = 3_000_000


class Source(Protocol):
    """Something that is watched."""

    def poll(self) -> None:
        """Read what is new."""
        ...

    def state(self, *, judge_now: bool) -> State:
        """What is known. Judged anew where that is due, or `judge_now`."""
        ...

    def page_run(self) -> PageRun:
        """The same for a page, where `WatchOptions.page` asked for one."""
        ...


class RunSource:
    """A run folder of ours, of a training or of a `Balance`."""

    def __init__(self, path: Path, options: WatchOptions) -> None:
        self._run, self._options = RunFolder(path), options
        self._booked = BookedRun(self._run) if options.page else None
        self._reader = self._booked.reader if self._booked else RunReader(self._run)
        self._arrivals, self._judge = Arrivals(), Judge(options)
        self._signals = self._reader.signals

    def poll(self) -> None:
        reader = self._reader
        if reader.look():
            self._judge.outdate()
        if reader.signals is not self._signals:
            self._signals = reader.signals
            self._judge.forget()
        if reader.signals.step is not None and not reader.unread_bytes:
            # The steps that are there already are of the time when the last one was written.
            now = self._options.clock() if len(self._arrivals) else reader.changed_at
            self._arrivals.add(now, reader.signals.step)

    def state(self, *, judge_now: bool) -> State:
        reader, signals = self._reader, self._reader.signals
        recent, step_seconds = signals.recent(), reader.step_seconds()
        each = rows_by_discriminator(recent[-1]) if recent else {}
        rates = [("G", recent[-1].get("g_learning_rate"))] if recent else []
        rates += [
            (f"D {name}" if name else "D", one.get("d_learning_rate")) for name, one in each.items()
        ]
        actions = [
            (f"{game}: " if game else "") + action_words(reader.policy, _mapping(row, "action"))
            for game, row in each.items()
        ]
        objective = self._options.objective or reader.objective

        def traces() -> Iterator[Traces]:
            whole = signals.whole(objective, reader.policy)
            latest = signals.latest(objective, reader.policy)
            yield from ((a, b, signals.has_d) for a, b in zip(whole, latest, strict=True))

        return State(
            source=str(self._run.path),
            status=self._status(step_seconds),
            stage=signals.stage,
            step=signals.step,
            planned_steps=reader.planned_steps,
            steps_per_second=self._arrivals.steps_per_second(step_seconds),
            policy=reader.policy,
            action="; ".join(actions),
            learning_rates=tuple((n, float(r)) for n, r in rates if isinstance(r, int | float)),
            games=self._judge.games(traces, now=judge_now),
            held_out=held_out_words(reader.metrics, signals.stage),
            sample=max(self._run.sample_files(), default=None),
            events=tuple(reader.known_events()),
            notes=tuple(reader.notes()),
            unread_bytes=reader.unread_bytes,
        )

    def _status(self, step_seconds: list[float]) -> Status:
        reader, options = self._reader, self._options
        if reader.problem:
            return Status(UNREADABLE, f"{self._run.signals.name} {reader.problem}")
        if not os.path.isdir(self._run.path):  # It never raises, unlike that of a `Path`.
            return Status(GONE, "the folder is gone: waits for it to come back")
        gap = self._arrivals.longest_gap_seconds()
        return status_of(
            str(self._run.path),
            reader.known_events(),
            step=reader.signals.step,
            planned_steps=reader.planned_steps,
            quiet_seconds=reader.quiet_seconds(options.clock()),
            patience=patience_seconds(step_seconds, gap, options.stale_seconds),
        )

    def page_run(self) -> PageRun:
        assert self._booked is not None, "WatchOptions.page asks for it"
        state = self.state(judge_now=False)
        judged = [(game.title, game.diagnosis) for game in state.games]
        name = Path(os.path.realpath(self._run.path)).name or state.source
        return self._booked.page_run(
            name, judged, state.status, state.progress, SAMPLE_BYTES, state.facts()
        )


def _mapping(row: object, key: str) -> dict[str, object] | None:
    value = row.get(key) if isinstance(row, dict) else None
    return value if isinstance(value, dict) else None


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
        refuse_binary(file.read(LOOK_BYTES).lstrip(HOLE), str(path))
    return LogSource(path, options)


class Watcher:
    """Looks at what is at a path, again and again."""

    def __init__(self, path: Path, wait: bool, options: WatchOptions | None = None) -> None:
        """`wait`: what is not there yet is waited for.

        Raises `UserError` where there is nothing to be watched, and none is to be waited for.
        """
        self._path, self._wait, self._options = path, wait, options or WatchOptions()
        self._source: Source | None = None
        self._why = ""
        self._try_to_open()

    def _try_to_open(self) -> bool:
        try:
            self._source = open_source(self._path, self._options)
        except UserError as error:
            if not self._wait:
                raise
            self._why = str(error).removeprefix(f"{self._path}: ").partition(";")[0]
            return False
        return True

    def look(self, *, judge_now: bool = False) -> State:
        """Read what is new, and say what there is."""
        if self._source is None and not self._try_to_open():
            return self._waiting()
        assert self._source is not None, "it was opened above"
        self._source.poll()
        return self._source.state(judge_now=judge_now)

    def page_run(self) -> PageRun:
        """What a page shows, as of the last look."""
        return page_of(self._waiting()) if self._source is None else self._source.page_run()

    def _waiting(self) -> State:
        return State(str(self._path), Status(WAITING, f"waits: {self._why}"))
