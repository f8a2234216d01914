"""The one writer of a run's rows: `signals.jsonl`, `metrics.jsonl`, `events.jsonl`, `train.log` and
TensorBoard's files."""

import contextlib
import datetime
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from counterpoise.json_lines import JsonLines, drop_rows_after
from counterpoise.plain_files import append_text, cannot_write
from counterpoise.records import StepRecord, compact, is_written, rows_every
from counterpoise.run_folder import RunFolder


class RunWriter:
    """Writes into a run folder, which is there; without one (all processes but the first) nothing.

    `resumed_step`: what was recorded after it is dropped. `notes` says what was wrong with the
    files. Raises `UserError` where something cannot be written.
    """

    def __init__(
        self, run: RunFolder | None, *, resumed_step: int | None = None, tensorboard: bool = False
    ) -> None:
        self.notes: list[str] = []
        self._run = run
        self._files: dict[str, JsonLines] = {}
        self._tensorboard: _TensorBoard | None = None
        if run is None:
            return
        if resumed_step is not None:
            self.notes += drop_rows_after(run.signals, resumed_step)
            self.notes += drop_rows_after(run.metrics, resumed_step)
            _drop_samples_after(run, resumed_step)
        for path in (run.signals, run.events, *([run.metrics] if tensorboard else [])):
            file = self._files[path.name] = JsonLines(path)
            self.notes += [file.note] if file.note else []
        if tensorboard:
            self._tensorboard = _TensorBoard(run, resumed_step)

    def step(self, record: StepRecord, row: Mapping[str, Any] | None = None) -> str:
        """Write a step's row, `record.to_json()`; what to say where rows become rarer."""
        if self._run is not None and is_written(record):
            self._append(self._run.signals.name, compact(dict(row or record.to_json())))
        if (thinner := rows_every(record.step + 1)) > rows_every(record.step):
            return f"from here on signals.jsonl has one step of {thinner}"
        return ""

    def metrics(self, step: int, stage: str, values: Mapping[str, float]) -> None:
        """Write held-out metrics."""
        if self._run is None:
            return
        self._append(self._run.metrics.name, {"step": step, "stage": stage, **values})
        self._scalars({f"held_out/{name}": value for name, value in values.items()}, step)

    def event(self, step: int, kind: str, message: str) -> None:
        """Write that something happened."""
        if self._run is not None:
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            row = {"time": now, "step": step, "kind": kind, "message": message}
            self._append(self._run.events.name, row)

    def log(self, text: str) -> None:
        """Write lines of `train.log`."""
        if self._run is not None:
            append_text(self._run.log, text)

    def scalars(self, record: StepRecord) -> None:
        """Show a step's numbers in TensorBoard."""
        self._scalars(_numbers(record.to_json()), record.step)

    def _scalars(self, values: Mapping[str, float], step: int) -> None:
        if self._tensorboard is not None:
            self._tensorboard.add("add_scalar", *((n, v, step) for n, v in values.items()))

    def samples(self, step: int, grid: np.ndarray) -> None:
        """Show a sheet of samples (H, W, 3) in TensorBoard."""
        if self._tensorboard is not None:
            self._tensorboard.add("add_image", ("samples", grid, step), dataformats="HWC")

    def sync(self) -> None:
        """Bring all rows to the disk: a checkpoint must not outlive the rows before it."""
        for file in self._files.values():
            file.sync()

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._run = None
        if self._tensorboard is not None:
            self._tensorboard.close()

    def _append(self, name: str, row: dict[str, Any]) -> None:
        self._files[name].append(row)


def loss_line(record: StepRecord) -> str:
    """A step's losses and D's outputs in the form that GAN users and their scripts know.

        Loss G: 3.0574  Loss D: 0.2145  D(x): 0.94  D(G(z)): 0.1 / 0.1

    D(G(z)) is given before and after D's update, each measured. A stage without D has no D fields;
    of several, each has its name.
    """
    text = f"Loss G: {record.g_loss:.6f}"
    for name, d in record.discriminators.items():
        of = f" {name}" if name else ""
        text += f"  Loss D{of}: {d.loss:.6f}  D(x){of}: {d.signals.d_real:.6f}"
        text += f"  D(G(z)){of}: {d.signals.d_fake:.6f}"
        if d.fake_after is not None:
            text += f" / {d.fake_after:.6f}"
    return text


def _drop_samples_after(run: RunFolder, step: int) -> None:
    """Delete the sheets of steps that are made anew: the newest is what people look at."""
    for sheet in run.sample_files():
        own = re.fullmatch(r"step-(\d{8,})\.png", sheet.name)
        if own is not None and int(own[1]) > step:
            try:
                sheet.unlink()
            except OSError as error:
                raise cannot_write(sheet, error) from error


def _numbers(row: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a row, with nested names joined by a slash."""
    numbers: dict[str, float] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            numbers |= _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and name != "step":
            numbers[prefix + name] = float(value)
    return numbers


class _TensorBoard:
    """TensorBoard's writer; one line for what its thread could not write, at a later call."""

    def __init__(self, run: RunFolder, resumed_step: int | None) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter  # heavy, and not for a `Balance`

        self._path = run.tensorboard
        self._hook = threading.excepthook
        threading.excepthook = self._thread_failed
        purge_step = None if resumed_step is None else resumed_step + 1
        try:
            with self._told():
                self._writer = SummaryWriter(str(self._path), purge_step=purge_step)
        except BaseException:
            threading.excepthook = self._hook
            raise

    def add(self, what: str, *arguments: tuple[Any, ...], **options: Any) -> None:
        """Call a method of the writer for each of these arguments."""
        with self._told():
            for each in arguments:
                getattr(self._writer, what)(*each, **options)

    def close(self) -> None:
        try:
            with self._told():
                self._writer.close()
        finally:
            threading.excepthook = self._hook

    def _thread_failed(self, failure: threading.ExceptHookArgs) -> None:
        """TensorBoard's thread needs no traceback: its error comes with the next call."""
        module = type(failure.thread).__module__
        if not (isinstance(failure.exc_value, OSError) and module.startswith("tensorboard.")):
            self._hook(failure)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise cannot_write(self._path, error) from error
