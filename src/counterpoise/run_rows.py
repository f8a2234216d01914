"""The one reader of a run's files, whole or as they grow."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from counterpoise.config_file import BadYamlError, read_yaml
from counterpoise.errors import UserError
from counterpoise.file_tail import FileTail, Portion
from counterpoise.json_lines import parse_row
from counterpoise.run_folder import RunFolder
from counterpoise.run_status import Event
from counterpoise.trace import (
    DISCRIMINATORS,
    Trace,
    TraceBuilder,
    rows_by_discriminator,
    signals_row_values,
)

RUN_FOLDER = "run folder"  # what a trace of it has as its format
# Rows that are kept as they are, the latest: their times give the pace.
RECENT_ROWS = 100
# Longer steps are none, and infinity is no number to count with.
MOST_SECONDS = 1e9

Row = Mapping[str, Any]
# Takes every row of `signals.jsonl`, with its step.
Take = Callable[[int, Row], None]
# Of all discriminators, or of each by name.
Objective = str | Mapping[str, str] | None


class SignalRows:
    """Rows of `signals.jsonl`, taken as they come: a trace for each discriminator.

    A step that is not past the last one takes its place and that of all after it: the training
    went on from an earlier state. A stage begins anew, since its numbers are of another loss.
    """

    def __init__(self, source: str = "", take: Take | None = None) -> None:
        """`take` is called with each row that has a step, before it is part of the traces."""
        self._source, self._take = source, take
        self.step: int | None = None
        self.stage, self.has_d = "", False
        self.rows = self.torn = self.without_step = self.restarts = 0
        self._builders: dict[str, TraceBuilder] = {}
        self._recent: deque[Row] = deque(maxlen=RECENT_ROWS)

    def feed(self, lines: Iterable[str]) -> None:
        """Take lines; those that are torn, no JSON object or without a step are counted."""
        for line in lines:
            if line.isspace():
                continue
            row = parse_row(line)
            if row is None:
                self.torn += 1
            else:
                self.add(row)

    def add(self, row: Row) -> None:
        """Take a row; one without a step is counted."""
        step = row.get("step")
        if not isinstance(step, int) or isinstance(step, bool) or abs(step) >= 1 << 53:
            self.without_step += 1
            return
        if self._take is not None:
            self._take(step, row)
        flat = rows_by_discriminator(row)
        stage, has_d = str(row.get("stage", "")), any("d_loss" in one for one in flat.values())
        self.restarts += self.step is not None and step < self.step
        kind = (stage, has_d, list(flat))
        if kind != (self.stage, self.has_d, list(self._builders)):
            self._builders = {
                name: TraceBuilder(source=self._source, format=RUN_FOLDER, title=name)
                for name in flat
            }
            self._recent.clear()
        elif self.step is not None and step <= self.step:
            for builder in self._builders.values():
                builder.go_back(step - 1)
        self.step, self.stage, self.has_d = step, stage, has_d
        self.rows += 1
        self._recent.append(row)
        for name, one in flat.items():
            self._builders[name].add(step, signals_row_values(one))

    def recent(self) -> list[Row]:
        """The latest rows of the stage under way, oldest first."""
        return list(self._recent)

    def whole(self, objective: Objective = None, policy: str | None = None) -> list[Trace]:
        """All of the stage under way, for each discriminator; titled by its name."""
        return [builder.build() for builder in self._with(objective, policy)]

    def latest(self, objective: Objective = None, policy: str | None = None) -> list[Trace]:
        """Its latest rows, likewise."""
        return [builder.latest() for builder in self._with(objective, policy)]

    def _with(self, objective: Objective, policy: str | None) -> list[TraceBuilder]:
        for name, builder in self._builders.items():
            own = objective.get(name) if isinstance(objective, Mapping) else objective
            builder.objective, builder.policy = own, policy
        return [builder for builder in self._builders.values() if builder.rows_read]

    def notes(self) -> list[str]:
        """What a person must know of the reading."""
        notes = []
        if self.torn:
            notes.append(torn_note("signals.jsonl", self.torn))
        if self.without_step:
            notes.append(f"signals.jsonl: {self.without_step} lines without a step: left out")
        if self.restarts:
            notes.append(
                f"signals.jsonl: the steps go back {self.restarts} times, as where several "
                "trainings wrote into one folder: what a later row overtook is left out"
            )
        return notes


def torn_note(name: str, count: int) -> str:
    """What is said of lines of a file that are no rows."""
    lines = "1 line is" if count == 1 else f"{count} lines are"
    return f"{name}: {lines} torn or not a JSON object: left out"


class RunReader:
    """Reads the files of a run folder: all of them, or at each look what is new.

    A file that is replaced, as by a training that is resumed, is read anew.
    """

    def __init__(
        self, run: RunFolder, take: Callable[[Mapping[str, Any]], Take] | None = None
    ) -> None:
        """`take` makes what takes the rows of `signals.jsonl`, from the configuration: at first,
        and each time that they begin anew."""
        self.run, self._begin = run, take
        self.config: dict[str, Any] = {}
        self.config_problem = ""
        self._config_seen: tuple[int, int] | None = None
        self.metrics: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self._tails = [FileTail(path) for path in (run.events, run.metrics, run.signals)]
        self._torn: dict[str, int] = {}
        self._problems: dict[str, str] = {}
        self.changed_at = 0.0  # the newest time of a modification, in seconds since the epoch
        self.unread_bytes = 0
        self.problem = ""  # why signals.jsonl cannot be read
        self._read_config()
        self._forget_signals()

    def _forget_signals(self) -> None:
        take = None if self._begin is None else self._begin(self.config)
        self.signals = SignalRows(str(self.run.path), take)

    def look(self) -> bool:
        """Read a portion of what is new; whether there was anything. Never raises."""
        news = self._read_config()
        events, metrics, signals = self._tails
        # Events first: an event that ends a run is of a step that is there already.
        for tail, rows in ((events, self.events), (metrics, self.metrics)):
            portion = self._portion(tail)
            self._problems[tail.path.name] = portion.problem
            if portion.anew:
                rows.clear()
                self._torn[tail.path.name] = 0
            self._take_rows(tail, rows, portion.lines)
            news |= portion.anew or bool(portion.lines)
        portion = self._portion(signals)
        self.problem, self.unread_bytes = portion.problem, portion.unread_bytes
        if portion.anew:
            self._forget_signals()
        self.signals.feed(portion.lines)
        return news or portion.anew or bool(portion.lines)

    def read_whole(self) -> "RunReader":
        """Read everything that stands in the files; `UserError` where signals.jsonl cannot be."""
        while self.look() or self.unread_bytes:
            pass
        events, metrics, signals = self._tails
        if self.problem:
            raise UserError(f"{signals.path}: {self.problem}; replace or remove it")
        self._take_rows(events, self.events, [events.take_rest()])
        self._take_rows(metrics, self.metrics, [metrics.take_rest()])
        if rest := signals.take_rest().strip():
            self.signals.feed([rest])
        return self

    def _portion(self, tail: FileTail) -> Portion:
        portion = tail.poll()
        self.changed_at = max(self.changed_at, portion.changed_at)
        return portion

    def _take_rows(self, tail: FileTail, rows: list[dict[str, Any]], lines: list[str]) -> None:
        for line in filter(str.strip, lines):
            row = parse_row(line)
            if row is None:
                self._torn[tail.path.name] = self._torn.get(tail.path.name, 0) + 1
            else:
                rows.append(row)

    def _read_config(self) -> bool:
        try:
            status = self.run.config.stat()
        except OSError:
            return False
        seen = (status.st_mtime_ns, status.st_size)
        if seen == self._config_seen:
            return False
        self._config_seen = seen
        self.config, self.config_problem = {}, ""
        try:
            tree = read_yaml(self.run.config)
        except (OSError, BadYamlError) as error:
            self.config_problem = " ".join(str(error).split())
            return True
        if isinstance(tree, dict):
            self.config = tree
        else:
            self.config_problem = "it is no mapping of sections"
        return True

    def known_events(self) -> list[Event]:
        """The rows of `events.jsonl` that are events, oldest first."""
        return [event for row in self.events if (event := Event.of(row)) is not None]

    def quiet_seconds(self, now: float) -> float:
        """For how long none of the files has changed; `now` in seconds since the epoch."""
        return now - self.changed_at if self.changed_at else 0.0

    def step_seconds(self) -> list[float]:
        """What the latest steps took, as they say."""
        seconds = (row.get("seconds") for row in self.signals.recent())
        return [float(s) for s in seconds if isinstance(s, int | float) and 0 < s < MOST_SECONDS]

    @property
    def objective(self) -> Objective:
        """The adversarial form, of several discriminators each one's, where the configuration
        says it."""
        node: Any = self.config
        for key in ("loss", "adversarial", DISCRIMINATORS):
            node = node.get(key) if isinstance(node, dict) else None
        if not isinstance(node, dict):
            return configured(self.config, "loss", "adversarial", "form")
        forms = {str(name): configured({"d": one}, "d", "form") for name, one in node.items()}
        return {name: form for name, form in forms.items() if form is not None}

    @property
    def policy(self) -> str | None:
        """The balance policy, where the configuration says it."""
        return configured(self.config, "balance", "policy")

    @property
    def planned_steps(self) -> int | None:
        """The steps of all stages; None where the configuration does not say them."""
        train = self.config.get("train")
        if not isinstance(train, Mapping):
            return None
        counts = [train.get("pretrain_steps", 0), train.get("steps")]
        whole = [c for c in counts if isinstance(c, int) and not isinstance(c, bool)]
        return sum(whole) if len(whole) == len(counts) else None

    def notes(self) -> list[str]:
        """What a person must know of the reading."""
        notes = [f"config.yaml is damaged: {self.config_problem}"] if self.config_problem else []
        torn = [torn_note(name, count) for name, count in self._torn.items() if count]
        problems = [f"{name} {problem}" for name, problem in self._problems.items() if problem]
        return [*notes, *problems, *self.signals.notes(), *sorted(torn)]


def configured(config: Mapping[str, Any], *path: str) -> str | None:
    """The text at a key path of a configuration; None where there is none."""
    node: Any = config
    for key in path:
        node = node.get(key) if isinstance(node, dict) else None
    return node if isinstance(node, str) else None
