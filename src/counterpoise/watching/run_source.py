"""Follows the files of a run folder."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from counterpoise.logs.folders import configuration, configured
from counterpoise.run_folder import RunFolder
from counterpoise.watching.judge import Judge, Traces
from counterpoise.watching.options import WatchOptions
from counterpoise.watching.pace import Arrivals, patience_seconds, steps_per_second
from counterpoise.watching.run_rows import RunRows
from counterpoise.watching.state import GONE, UNREADABLE, State, Status, status_of
from counterpoise.watching.tail import FileTail, Portion
from counterpoise.watching.words import action_words, held_out_words


class RunSource:
    """A run folder of ours, of a training or of a `Balance`."""

    def __init__(self, path: Path, options: WatchOptions) -> None:
        self._source, self._run, self._options = str(path), RunFolder(path), options
        self._rows = RunRows(self._source)
        self._signals = FileTail(self._run.signals)
        self._events, self._metrics = FileTail(self._run.events), FileTail(self._run.metrics)
        self._arrivals = Arrivals()
        self._judge = Judge(d_loss_is_mean=options.d_loss_is_mean)
        self._config: dict[str, Any] = {}
        self._config_seen: tuple[int, int] | None = None
        self._torn = 0
        self._heard_at = 0.0
        self._unread_bytes = 0
        self._exists, self._problem = True, ""
        self._sample: Path | None = None

    def poll(self) -> None:
        self._exists = os.path.isdir(self._run.path)  # It never raises, unlike that of a `Path`.
        self._read_config()
        # Events first: an event that ends a run is of a step that is there already.
        for tail, take, forget in (
            (self._events, self._rows.event, self._rows.forget_events),
            (self._metrics, self._rows.metric, self._rows.metrics.clear),
        ):
            portion = tail.poll()
            if portion.anew:
                forget()
            self._take(portion, take)
            self._hear(portion)
        self._read_signals()
        self._sample = max(self._run.sample_files(), default=None)

    def _read_signals(self) -> None:
        portion = self._signals.poll()
        self._problem, self._unread_bytes = portion.problem, portion.unread_bytes
        if portion.anew:
            self._rows.forget_signals()
            self._torn = 0
            self._judge.forget()
        self._torn += self._take(portion, self._rows.signal)
        self._hear(portion)
        if self._rows.step is not None and not portion.unread_bytes:
            # The steps that are there already are of the time when the last one was written.
            now = self._options.clock() if len(self._arrivals) else portion.changed_at
            self._arrivals.add(now, self._rows.step)
        if portion.lines:
            self._judge.outdate()

    @staticmethod
    def _take(portion: Portion, take: Callable[[Mapping[str, Any]], bool]) -> int:
        """Take the rows of a portion; how many lines were none."""
        torn = 0
        for line in portion.lines:
            try:
                row = json.loads(line)
                taken = isinstance(row, dict) and take(row)
            except (ValueError, TypeError, RecursionError, OverflowError):
                taken = False
            torn += not taken and not line.isspace()
        return torn

    def _hear(self, portion: Portion) -> None:
        if portion.changed_at:
            self._heard_at = max(self._heard_at, portion.changed_at)

    def _read_config(self) -> None:
        try:
            status = self._run.config.stat()
        except OSError:
            return
        seen = (status.st_mtime_ns, status.st_size)
        if seen != self._config_seen:
            self._config_seen, self._config = seen, configuration(self._run.path)
            # An objective or a policy may be known now.
            self._judge.outdate()

    def state(self, *, judge_now: bool) -> State:
        rows = self._rows
        policy = configured(self._config, "balance", "policy")
        total_steps = planned_steps(self._config)
        if self._problem:
            status = Status(UNREADABLE, f"{self._run.signals.name} {self._problem}")
        elif not self._exists:
            status = Status(GONE, "the folder is gone: waits for it to come back")
        else:
            quiet = self._options.clock() - self._heard_at if self._heard_at else 0.0
            status = status_of(
                self._source,
                step=rows.step,
                total_steps=total_steps,
                last=rows.last,
                quiet_seconds=quiet,
                patience_seconds=patience_seconds(
                    self._arrivals, rows.step_seconds, self._options.stale_seconds
                ),
            )
        form = self._options.objective or configured(self._config, "loss", "adversarial", "form")

        def traces() -> Iterator[Traces]:
            found = rows.traces(form, policy)
            if found is not None:
                yield (*found, rows.has_d)

        torn = []
        if self._torn:
            word = "line" if self._torn == 1 else "lines"
            torn.append(f"{self._torn} {word} of signals.jsonl left out: torn, or no step")
        return State(
            source=self._source,
            status=status,
            stage=rows.stage,
            step=rows.step,
            total_steps=total_steps,
            steps_per_second=steps_per_second(self._arrivals, rows.step_seconds),
            policy=policy,
            action="" if rows.step is None else action_words(policy, rows.action),
            learning_rates=rows.learning_rates,
            games=self._judge.games(traces, now=judge_now),
            held_out=held_out_words(rows.metrics, rows.stage),
            sample=self._sample,
            events=tuple(rows.events),
            notes=tuple(torn),
            unread_bytes=self._unread_bytes,
        )


def planned_steps(config: Mapping[str, Any]) -> int | None:
    """The steps of all stages of a run's configuration; None where it does not say them."""
    train = config.get("train")
    if not isinstance(train, Mapping):
        return None
    counts = [train.get("pretrain_steps", 0), train.get("steps")]
    whole = [c for c in counts if isinstance(c, int) and not isinstance(c, bool)]
    return sum(whole) if len(whole) == len(counts) else None
