"""Logs that are folders: runs of ours, TensorBoard's event files, StyleGAN's output."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from counterpoise.errors import UserError
from counterpoise.logs.columns import PLACES, NamedRows
from counterpoise.logs.runs import Position, RunCollector
from counterpoise.run_folder import RunFolder
from counterpoise.run_rows import RunReader
from counterpoise.trace import Trace

EVENT_FILES = "events.out.tfevents*"
TENSORBOARD = "tensorboard"


def logs_in(folder: Path) -> list[Path]:
    """Logs in a folder of another program: StyleGAN's, or TensorBoard's event files; `UserError`
    where there are none."""
    stats = folder / "stats.jsonl"
    if stats.is_file():
        return [stats]
    if events := sorted(path for path in folder.rglob(EVENT_FILES) if path.is_file()):
        return events
    raise UserError(
        f"{folder}: a folder without signals.jsonl, stats.jsonl or TensorBoard event files; "
        "give a run folder or a log file"
    )


def read_run_folder(folder: Path) -> list[Trace]:
    """A run folder of ours: `signals.jsonl`, and what `config.yaml` says of it; a trace for each
    discriminator. Raises `UserError` where no step has one yet."""
    reader = RunReader(RunFolder(folder)).read_whole()
    if not reader.signals.has_d:
        raise UserError(f"{folder}: it has no step with a discriminator yet")
    return [
        dataclasses.replace(trace, notes=tuple(reader.signals.notes())) for trace in reader.traces()
    ]


class EventFile:
    """Reads the scalars of a TensorBoard event file, one training run, as it grows."""

    def __init__(self, path: Path, mapping: Mapping[str, str]) -> None:
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

        loader: Any = EventFileLoader
        self._loader = loader(str(path))
        # By step: values of a step come one by one, in any order of steps.
        self._rows: dict[int, dict[str, float]] = {}
        self._names = NamedRows(RunCollector(), mapping)

    def feed(self) -> bool:
        """Read what was appended; whether there was anything."""
        grown = False
        for event in self._loader.Load():
            for value in event.summary.value:
                (column,) = self._names.columns_of([value.tag])
                number = _scalar(value)
                if column not in (None, *PLACES) and number is not None:
                    self._rows.setdefault(event.step, {})[column] = number
                    grown = True
        return grown

    def collector(self) -> RunCollector:
        """The run so far."""
        collector = RunCollector(TENSORBOARD, program=self._names.collector.program)
        for step in sorted(self._rows):
            collector.add(Position(step=step), self._rows[step])
        return collector

    def traces(self) -> list[Trace]:
        """The run in the whole file."""
        self.feed()
        return self.collector().traces()


def _scalar(value: Any) -> float | None:
    """The number of a summary's value; None for a picture, a text, or what is damaged."""
    from tensorboard.util import tensor_util

    to_array: Any = tensor_util.make_ndarray
    try:
        return float(to_array(value.tensor).item())
    except (TypeError, ValueError):
        return None
