"""What is watched: a run folder, a log file, or what will become one."""

from pathlib import Path
from typing import Protocol

from counterpoise.errors import UserError
from counterpoise.logs.folders import EVENT_FILES
from counterpoise.logs.opening import LOOK_BYTES, refuse_binary
from counterpoise.watching.log_source import EventFilesSource, LogSource
from counterpoise.watching.options import WatchOptions
from counterpoise.watching.run_source import RunSource
from counterpoise.watching.state import WAITING, State, Status
from counterpoise.watching.tail import HOLE


class Source(Protocol):
    """Something that is watched."""

    def poll(self) -> None:
        """Read what is new."""
        ...

    def state(self, *, judge_now: bool) -> State:
        """What is known. Judged anew where that is due, or `judge_now`."""
        ...


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
            return State(str(self._path), Status(WAITING, f"waits: {self._why}"))
        assert self._source is not None, "it was opened above"
        self._source.poll()
        return self._source.state(judge_now=judge_now)
