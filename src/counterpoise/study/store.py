"""A study's folder: the plan, one row per finished cell, and the lock of the one who writes."""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from counterpoise.errors import UserError
from counterpoise.folder_lock import FolderLock
from counterpoise.plain_files import (
    append_line,
    atomic_write,
    cannot_write,
    cut_torn_line,
    open_to_append,
)
from counterpoise.study.plan import Cell, StudyPlan, load_plan

PLAN_FILE, RESULTS_FILE, EVENTS_FILE = "study.yaml", "results.jsonl", "events.jsonl"


class StudyFolder:
    """study.yaml, results.jsonl and events.jsonl in one folder, written by one process at a time.

    A row is on the disk before the next cell is asked for; a write that fails leaves whole rows
    only. Of a cell that was run again after an error, the last row counts.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plan = path / PLAN_FILE
        self.results, self.events = path / RESULTS_FILE, path / EVENTS_FILE

    @contextlib.contextmanager
    def opened(self, plan: StudyPlan) -> Iterator[None]:
        """Begin a study here, or go on with it; `UserError` for another plan or a second writer."""
        # Before anything is written: the folder may be somebody's photographs.
        self.has(plan)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FolderLock(self.path, "runs this study", "wait for it, or give another --out")
        except OSError as error:
            raise cannot_write(self.path, error) from error
        with lock:
            if not self.has(plan):
                with atomic_write(self.plan) as temporary:
                    temporary.write_text(plan.to_yaml(), encoding="utf-8")
            for file in (self.events, self.results):
                if torn := cut_torn_line(file):
                    self.note("torn-line", f"{file.name}: an unfinished {torn} bytes were cut off")
            if lock.note:
                self.note("no-lock", lock.note)
            yield

    def has(self, plan: StudyPlan) -> bool:
        """Whether this is a study of `plan` (True), or free for one (False).

        Raises `UserError` where the folder has another plan, or files but no study.
        """
        if not self.plan.is_file():
            # Hidden files are the lock, and what a crash left of the first write.
            if any(not name.startswith(".") for name in self._names()):
                raise UserError(
                    f"{self.path}: has files but no {PLAN_FILE}; give --out another folder"
                )
            return False
        there = load_plan(self.plan)
        if there != plan:
            names = type(plan).model_fields
            differing = [name for name in names if getattr(there, name) != getattr(plan, name)]
            raise UserError(
                f"{self.path}: has a study of another plan (other {', '.join(differing)}); "
                "give --out another folder"
            )
        return True

    def _names(self) -> list[str]:
        try:
            return os.listdir(self.path)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def finished(self) -> dict[str, dict[str, Any]]:
        """The last row of every cell that has one, by the cell's key; an unfinished line is no row.

        Raises `UserError` for a file that cannot be read, and a whole line that is no row.
        """
        rows: dict[str, dict[str, Any]] = {}
        try:
            data = self.results.read_bytes()
        except FileNotFoundError:
            return rows
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"{self.results}: cannot be read ({reason})") from error
        for number, line in enumerate(data.split(b"\n")[:-1], start=1):
            try:
                row = json.loads(line)
                key = Cell(row["task"], row["stressor"], row["strategy"], row["seed"]).key
                if row["status"] not in ("done", "error"):
                    raise ValueError(row["status"])
            except (ValueError, KeyError, TypeError):
                raise UserError(
                    f"{self.results} line {number}: not a row of a study; remove the line"
                ) from None
            rows[key] = row
        return rows

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row and bring it to the disk; `UserError` where that cannot be, without it."""
        append_whole_line(self.results, json.dumps(row, allow_nan=False))

    def note(self, event: str, message: str) -> None:
        """Record what happened to the study itself."""
        row = {"event": event, "message": message, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        append_whole_line(self.events, json.dumps(row))


def append_whole_line(path: Path, line: str) -> None:
    """Append a line and sync it, or leave the file as it was and raise `UserError`."""
    file = open_to_append(path)
    try:
        before = os.fstat(file).st_size
        append_line(file, path, line)
        try:
            os.fsync(file)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(file, before)
            raise cannot_write(path, error) from error
    finally:
        os.close(file)


def plan_of(folder: Path) -> StudyPlan:
    """The plan of a study's folder; `UserError` where there is none."""
    file = folder / PLAN_FILE
    if not file.is_file():
        raise UserError(f"{folder}: not a study (it has no {PLAN_FILE}); run one first")
    return load_plan(file)
