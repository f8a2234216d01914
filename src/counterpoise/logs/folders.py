"""Logs that are folders: runs of ours, TensorBoard's event files, StyleGAN's output."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.logs.columns import without_suffix
from counterpoise.logs.names import column_of, plain
from counterpoise.logs.runs import Position, RunCollector
from counterpoise.run_folder import RunFolder
from counterpoise.run_rows import RunReader
from counterpoise.trace import Trace

# TensorBoard's numbers for the types of scalars.
DT_FLOAT, DT_DOUBLE = 1, 2
# Steps of an event file that are kept; of a longer one, an even sample.
MOST_EVENT_STEPS = 200_000
# Tags of an event file whose columns are remembered at once.
MOST_TAGS = 10_000
EVENT_FILES = "events.out.tfevents*"
TENSORBOARD = "tensorboard"


def read_run_folder(folder: Path, objective: str | None) -> list[Trace]:
    """A run folder of ours: `signals.jsonl`, and what `config.yaml` says of it; a trace for each
    discriminator, none where no step has one yet."""
    reader = RunReader(RunFolder(folder)).read_whole()
    if not reader.signals.has_d:
        return []
    notes = tuple(reader.signals.notes())
    traces = reader.signals.whole(objective or reader.objective, reader.policy)
    return [dataclasses.replace(trace, notes=notes) for trace in traces]


class EventFile:
    """Reads the scalars of a TensorBoard event file, one training run, as it grows."""

    def __init__(
        self, path: Path, source: str, objective: str | None, mapping: Mapping[str, str]
    ) -> None:
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

        self._source, self._objective, self._mapping = source, objective, mapping
        loader: Any = EventFileLoader
        self._loader = loader(str(path))
        self._rows: dict[int, dict[str, float]] = {}
        # The tag that each column is read from: two numbers must not be mixed in one.
        self._tags: dict[str, str] = {}
        self._columns: dict[str, str | None] = {}
        # Bits of a scattered step that must be zero for it to be kept.
        self._sieve = 0

    def feed(self) -> bool:
        """Read what was appended; whether there was anything."""
        grown = False
        for event in self._loader.Load():
            if _scattered(event.step) & self._sieve:
                continue
            for value in event.summary.value:
                number = _scalar(value)
                column = self._column_of(value.tag)
                if number is not None and column is not None and self._is_of(column, value.tag):
                    self._rows.setdefault(event.step, {})[column] = number
                    grown = True
            if len(self._rows) > MOST_EVENT_STEPS:
                self._sieve = 2 * self._sieve + 1
                self._rows = {
                    s: r for s, r in self._rows.items() if not _scattered(s) & self._sieve
                }
        return grown

    def _column_of(self, tag: str) -> str | None:
        if tag not in self._columns:
            if len(self._columns) == MOST_TAGS:
                self._columns.clear()
            self._columns[tag] = _event_column(tag, self._mapping)
        return self._columns[tag]

    def _is_of(self, column: str, tag: str) -> bool:
        """Whether a column is read from a tag: the mapping's, or else the first that is it."""
        if plain(tag) in self._mapping:
            self._tags[column] = tag
        return self._tags.setdefault(column, tag) == tag

    def collector(self) -> RunCollector:
        """The run so far. Values of a step come one by one, in any order of steps."""
        collector = RunCollector(self._source, TENSORBOARD, self._objective)
        if self._sieve:
            collector.notes.append(f"so many steps that one in {self._sieve + 1} was read")
        for step in sorted(self._rows):
            collector.add(Position(step=step), self._rows[step])
        return collector


def _scattered(step: int) -> int:
    """A step's number with its low bits as good as random, whatever the distance of steps is."""
    return (step * 0x9E3779B97F4A7C15 & 0xFFFF_FFFF_FFFF_FFFF) >> 32


def read_event_files(
    paths: list[Path], source: str, objective: str | None, mapping: Mapping[str, str]
) -> list[Trace]:
    """The scalars of TensorBoard event files, one training run each."""
    traces = []
    for path in paths:
        file = EventFile(path, source, objective, mapping)
        file.feed()
        traces += file.collector().traces()
    return traces


def _event_column(tag: str, mapping: Mapping[str, str]) -> str | None:
    name = plain(tag)
    if name in ("g_terms_adversarial", "losses_l_g_gan"):
        return "g_adversarial"
    column = column_of(name, mapping, most_before=1)
    # Lightning logs a number for each step and for each epoch, in this order.
    return column or column_of(without_suffix(name), mapping, most_before=1)


def _scalar(value: Any) -> float | None:
    """The number of a summary's value; None for a picture, a text, or what is damaged."""
    if value.HasField("simple_value"):
        return float(value.simple_value)
    tensor = value.tensor
    if not value.HasField("tensor") or tensor.tensor_shape.dim:
        return None
    # Read by hand: a shape that lies must take no memory.
    if tensor.dtype == DT_FLOAT:
        dtype, numbers = "<f4", tensor.float_val
    elif tensor.dtype == DT_DOUBLE:
        dtype, numbers = "<f8", tensor.double_val
    else:
        return None
    if len(tensor.tensor_content) == np.dtype(dtype).itemsize:
        return float(np.frombuffer(tensor.tensor_content, dtype)[0])
    return float(numbers[0]) if numbers else None
