"""The one writer of a run's rows, `.jsonl`, and of its `train.log`."""

import datetime
import math
from collections.abc import Mapping
from typing import Any

from counterpoise.json_lines import JsonLines, drop_rows_after
from counterpoise.plain_files import AppendedFile, writing
from counterpoise.records import StepRecord, compact, is_written, rows_every
from counterpoise.run_folder import RunFolder


class RunWriter:
    """Writes into a run folder, which is there; without one (all processes but the first) nothing.

    `resumed_step`: what was recorded after it is dropped. `metrics`: whether there will be any of
    held-out images. `notes` says what was wrong with the files. Raises `UserError` where something
    cannot be written.
    """

    def __init__(
        self, run: RunFolder | None, *, resumed_step: int | None = None, metrics: bool = False
    ) -> None:
        self.notes: list[str] = []
        self._rows: dict[str, JsonLines] = {}
        self._logs: list[AppendedFile] = []
        if run is None:
            return
        if resumed_step is not None:
            self.notes += drop_rows_after(run.signals, resumed_step)
            self.notes += drop_rows_after(run.metrics, resumed_step)
            # Sheets of steps that are made anew go too: the newest is what people look at.
            for sheet in run.sample_files():
                if sheet > run.sample(max(resumed_step, 0)):
                    with writing(sheet):
                        sheet.unlink()
        self._rows = {"signals": JsonLines(run.signals), "events": JsonLines(run.events)}
        self._logs = [AppendedFile(run.log)]
        if metrics:
            self._rows["metrics"] = JsonLines(run.metrics)
        self.notes += [f.note for f in [*self._rows.values(), *self._logs] if f.note]

    def step(self, record: StepRecord, row: Mapping[str, Any]) -> str:
        """Write a step's row, `record.to_json()`; what to say where rows become rarer."""
        if is_written(record):
            self._append("signals", compact(dict(row)))
        if (thinner := rows_every(record.step + 1)) > rows_every(record.step):
            return f"from here on signals.jsonl has one step of {thinner}"
        return ""

    def metrics(self, step: int, stage: str, values: Mapping[str, float]) -> None:
        """Write held-out metrics; those that are not finite are left out, which is an event."""
        known = {name: value for name, value in values.items() if math.isfinite(value)}
        self._append("metrics", {"step": step, "stage": stage, **known})
        if gone := ", ".join(sorted(values.keys() - known.keys())):
            self.event(step, "note", f"{stage}: not finite on held-out images, left out: {gone}")

    def event(self, step: int, kind: str, message: str) -> None:
        """Write that something happened."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._append("events", {"time": now, "step": step, "kind": kind, "message": message})

    def log(self, text: str) -> None:
        """Write lines of `train.log`."""
        for file in self._logs:
            file.append_line(text)

    def sync(self) -> None:
        """Bring all rows to the disk: a checkpoint must not outlive the rows before it."""
        for file in self._rows.values():
            file.sync()

    def close(self) -> None:
        """Close the files; nothing is written afterwards."""
        for file in [*self._rows.values(), *self._logs]:
            file.close()
        self._rows, self._logs = {}, []

    def _append(self, name: str, row: dict[str, Any]) -> None:
        if name in self._rows:
            self._rows[name].append(row)


def loss_line(record: StepRecord) -> str:
    """A step's losses and D's outputs in the form that GAN users and their scripts know.

        Loss G: 3.0574  Loss D: 0.2145  D(x): 0.94  D(G(z)): 0.1 / 0.1

    D(G(z)) is given before and after D's update, each measured. A stage without D has no D fields;
    of several, each has its name.
    """
    text = f"Loss G: {record.g_loss:.6f}"
    for name, d in record.discriminators.items():
        of = f" {name}" if name else ""
        text += f"  Loss D{of}: {d.signals.d_loss:.6f}  D(x){of}: {d.signals.d_real:.6f}"
        text += f"  D(G(z)){of}: {d.signals.d_fake:.6f}"
        if d.fake_after is not None:
            text += f" / {d.fake_after:.6f}"
    return text
