"""The one reader of a run's files, whole or as they grow."""

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.errors import UserError
from counterpoise.json_lines import FileTail, parse_row, read_json_lines
from counterpoise.records import DISCRIMINATORS
from counterpoise.run_folder import LOOP_BUG, RunFolder
from counterpoise.run_status import Event
from counterpoise.trace import Trace, TraceBuilder, rows_by_discriminator, signals_row_values

RUN_FOLDER = "run folder"  # what a trace of it has as its format
RECENT_ROWS = 100  # rows that are kept as they are, the latest: their times give the pace

Row = Mapping[str, Any]
# Is called with every row of `signals.jsonl`, and its step.
RowHandler = Callable[[int, Row], None]
Objective = str | Mapping[str, str] | None  # of all discriminators, or of each by name


class SignalRows:
    """Rows of `signals.jsonl`, taken as they come: a trace for each discriminator. A step that is
    not past the last one takes its place and that of all after it; a stage begins anew, since its
    numbers are of another loss, and so does the first row with a D. From there on a D's trace has
    the steps that it is in: a loop may train it every second turn."""

    def __init__(self, source: str = "", on_row: RowHandler | None = None) -> None:
        """`on_row` is called with each row that has a step, before it is part of the traces."""
        self._source, self._on_row = source, on_row
        self.step: int | None = None
        self.stage, self.has_d = "", False
        self.rows = self.left_out = 0
        self._builders: dict[str, TraceBuilder] = {}
        # The latest rows of the stage under way, oldest first.
        self.recent: deque[Row] = deque(maxlen=RECENT_ROWS)

    def feed(self, lines: Iterable[str]) -> None:
        """Take lines; those that are torn, no JSON object or without a step are counted."""
        for line in filter(str.strip, lines):
            self.add(parse_row(line) or {})

    def add(self, row: Row) -> None:
        """Take a row; one without a step is counted."""
        step = row.get("step")
        if not isinstance(step, int) or isinstance(step, bool) or abs(step) >= 1 << 53:
            self.left_out += 1
            return
        if self._on_row is not None:
            self._on_row(step, row)
        flat, stage = rows_by_discriminator(row), str(row.get("stage", ""))
        judged = {name: one for name, one in flat.items() if "d_loss" in one}
        if stage != self.stage or (judged and not self.has_d):
            self._builders, self.has_d = {}, bool(judged)
            self.recent.clear()
        elif self.step is not None and step <= self.step:
            for builder in self._builders.values():
                builder.go_back(step - 1)
        self.step, self.stage = step, stage
        self.rows += 1
        self.recent.append(row)
        for name, one in (judged if self.has_d else flat).items():
            self._builders.setdefault(name, TraceBuilder()).add(step, signals_row_values(one))

    def traces(self, objective: Objective = None, policy: str | None = None) -> list[Trace]:
        """The stage under way, for each discriminator; titled by its name."""
        return [
            replace(
                builder.build(),
                source=self._source,
                format=RUN_FOLDER,
                title=name,
                objective=objective.get(name) if isinstance(objective, Mapping) else objective,
                policy=policy,
            )
            for name, builder in self._builders.items()
            if builder.rows_read
        ]

    def notes(self) -> list[str]:
        """What a person must know of the reading."""
        what = "signals.jsonl: {} lines without a step, torn or not a JSON object: left out"
        return [what.format(self.left_out)] if self.left_out else []


def with_quality(trace: Trace, metrics: Iterable[Row]) -> Trace:
    """A run's trace with the held-out images' distance of `metrics.jsonl`, at the rows after which
    it was measured."""
    distance = np.full(len(trace), np.nan)
    for row in metrics:
        step, value = row.get("step"), row.get("sliced_wasserstein")
        if isinstance(step, int) and isinstance(value, float) and step >= trace.steps[0]:
            distance[np.searchsorted(trace.steps, step, side="right") - 1] = value
    if np.isnan(distance).all():
        return trace
    return replace(trace, columns=trace.columns | {"held_out_distance": distance})


class RunReader:
    """Reads the files of a run folder, whole or at each look what is new; one that is replaced, as
    by a training that is resumed, is read anew."""

    def __init__(self, run: RunFolder, begin: Callable[[], RowHandler] | None = None) -> None:
        """`begin` makes what handles the rows of `signals.jsonl`: at first, and each time that they
        begin anew."""
        self.run, self._begin = run, begin
        self.config: dict[str, Any] = {}
        # Of the files that are read anew when they change: their times of modification and sizes,
        # what a person must know of the reading, and the rows of `metrics` and `events.jsonl`.
        self._seen: dict[Path, tuple[int, int] | None] = {}
        self._notes: dict[Path, list[str]] = {}
        self._rows: dict[Path, list[dict[str, Any]]] = {run.events: [], run.metrics: []}
        self._tail = FileTail(run.signals)
        self.changed_at = 0.0  # the newest time of a modification, in seconds since the epoch
        self.problem = ""  # why signals.jsonl cannot be read
        if self._has_changed(run.config):
            self._read_config()
        self._forget_signals()

    def _forget_signals(self) -> None:
        self.signals = SignalRows(str(self.run.path), self._begin and self._begin())

    def look(self, *, growing: bool = True) -> bool:
        """Read a portion of what is new; whether there was anything. Never raises. A last line
        without its end is being written where the run is `growing`, else torn."""
        files = self.run.config, self.run.signals, *self._rows
        changed = {path for path in files if self._has_changed(path)}
        if self.run.config in changed:
            self._read_config()
        # Events first: an event that ends a run is of a step that is there already.
        for path in self._rows.keys() & changed:
            try:
                self._rows[path], self._notes[path] = read_json_lines(path, growing=growing)
            except UserError as error:
                self._rows[path], self._notes[path] = [], [str(error)]
        lines, anew, self.problem = list[str](), False, ""
        try:
            lines, anew = self._tail.poll(growing=growing)
        except OSError as error:
            self.problem = f"cannot be read ({error.strerror or error}); replace or remove it"
        if not self.run.signals.exists() and self.run.signals.with_suffix(".jsonl.gz").exists():
            self.problem = "is compressed: gunzip signals.jsonl.gz"
        if anew:
            self._forget_signals()
        self.signals.feed(lines)
        return bool(changed or anew or any(lines))

    def _has_changed(self, path: Path) -> bool:
        """Whether a file is not as it was at the last look."""
        seen = None
        with contextlib.suppress(OSError):
            status = path.stat()
            seen = status.st_mtime_ns, status.st_size
            self.changed_at = max(self.changed_at, status.st_mtime)
        before, self._seen[path] = self._seen.get(path), seen
        return seen != before

    def read_whole(self) -> "RunReader":
        """Read everything that stands in the files; `UserError` where signals.jsonl cannot be."""
        while self.look(growing=False) or self.unread_bytes:
            pass
        if self.problem:
            raise UserError(f"{self.run.signals}: {self.problem}")
        return self

    def _read_config(self) -> None:
        from counterpoise.config_file import read_mapping  # Slow, and not for logs.

        self.config, self._notes[self.run.config] = {}, []
        if self._seen[self.run.config] is not None:
            try:
                self.config = read_mapping(self.run.config, "config.yaml")
            except UserError as error:
                self._notes[self.run.config] = [str(error)]

    @property
    def unread_bytes(self) -> int:
        """What of signals.jsonl is still to be read."""
        return self._tail.unread_bytes

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The rows of `metrics.jsonl`."""
        return self._rows[self.run.metrics]

    @property
    def events(self) -> list[Event]:
        """The rows of `events.jsonl` that are events, oldest first."""
        events = map(Event.of, self._rows[self.run.events])
        return [event for event in events if event is not None]

    def step_seconds(self) -> list[float]:
        """What the latest steps took, as they say."""
        seconds = (row.get("seconds") for row in self.signals.recent)
        return [float(s) for s in seconds if isinstance(s, int | float) and 0 < s < 1e9]

    def configured(self, *path: str) -> Any:
        """The value at a key path of the configuration; None where there is none."""
        node: Any = self.config
        for key in path:
            node = node.get(key) if isinstance(node, dict) else None
        return node

    @property
    def objective(self) -> Objective:
        """The adversarial form, of several discriminators each one's, where the configuration
        says it."""
        each = self.configured("loss", "adversarial", DISCRIMINATORS)
        if not isinstance(each, dict):
            return _text(self.configured("loss", "adversarial", "form"))
        forms = {str(name): one.get("form") for name, one in each.items() if isinstance(one, dict)}
        return {name: form for name, form in forms.items() if isinstance(form, str)}

    @property
    def policy(self) -> str | None:
        """The balance policy, where the configuration says it."""
        return _text(self.configured("balance", "policy"))

    @property
    def planned_steps(self) -> int | None:
        """The steps of all stages; None where the configuration does not say them."""
        pretrain, steps = (self.configured("train", name) for name in ("pretrain_steps", "steps"))
        counts = [0 if pretrain is None else pretrain, steps]
        return sum(counts) if all(type(count) is int for count in counts) else None

    def traces(self, objective: Objective = None) -> list[Trace]:
        """Those of `signals`, with what the other files say; `objective` where a person says it."""
        found = self.signals.traces(objective or self.objective, self.policy)
        is_own = "generator" in self.config
        bugs = tuple((each.step, each.message) for each in self.events if each.kind == LOOP_BUG)
        found = [replace(trace, is_own_training=is_own, loop_bugs=bugs) for trace in found]
        return [with_quality(trace, self.metrics) for trace in found]

    def notes(self) -> list[str]:
        """What a person must know of the reading."""
        return [*itertools.chain(*self._notes.values()), *self.signals.notes()]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
