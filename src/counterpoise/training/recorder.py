"""Writes a run's signals, metrics, events and TensorBoard files, and words its log lines."""

import contextlib
import datetime
import re
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from torch.utils.tensorboard.writer import SummaryWriter

from counterpoise.json_lines import JsonLines, drop_rows_after
from counterpoise.plain_files import append_text, cannot_write
from counterpoise.records import StepRecord, compact, is_written, rows_every
from counterpoise.run_folder import RunFolder


class Reporter(Protocol):
    """Where a training tells a person what happens; the command line prints it."""

    def message(self, text: str) -> None:
        """One line that is neither progress nor a step's log line."""
        ...

    def log_lines(self, text: str) -> None:
        """The lines of a logged step."""
        ...

    def progress(self, step: int, total_steps: int, stage: str) -> None:
        """Step `step` of all the training's steps is done."""
        ...


class SilentReporter:
    """Says nothing: for library use and for all processes but the first."""

    def message(self, text: str) -> None:
        pass

    def log_lines(self, text: str) -> None:
        pass

    def progress(self, step: int, total_steps: int, stage: str) -> None:
        pass


class Recorder(Protocol):
    """What the training loop writes to."""

    def event(self, step: int, kind: str, message: str, *, tell: bool = True) -> None: ...
    def step(self, record: StepRecord) -> None: ...
    def log(self, record: StepRecord, lines: str) -> None: ...
    def metrics(self, step: int, stage: str, values: Mapping[str, float]) -> None: ...
    def samples(self, step: int, grid: np.ndarray) -> None: ...
    def sync(self) -> None: ...
    def close(self) -> None: ...


class NullRecorder:
    """Writes nothing: for all processes but the first."""

    def event(self, step: int, kind: str, message: str, *, tell: bool = True) -> None:
        pass

    def step(self, record: StepRecord) -> None:
        pass

    def log(self, record: StepRecord, lines: str) -> None:
        pass

    def metrics(self, step: int, stage: str, values: Mapping[str, float]) -> None:
        pass

    def samples(self, step: int, grid: np.ndarray) -> None:
        pass

    def sync(self) -> None:
        pass

    def close(self) -> None:
        pass


class FileRecorder:
    """Writes into a run folder. `resumed_step` drops what was recorded after it."""

    def __init__(self, run: RunFolder, reporter: Reporter, resumed_step: int | None) -> None:
        self._reporter = reporter
        notes: list[str] = []
        if resumed_step is not None:
            notes += drop_rows_after(run.signals, resumed_step)
            notes += drop_rows_after(run.metrics, resumed_step)
            for sheet in run.sample_files():
                # Of steps that are made anew: the newest sheet is what people look at.
                own = re.fullmatch(r"step-(\d{8,})\.png", sheet.name)
                if own is not None and int(own[1]) > resumed_step:
                    try:
                        sheet.unlink()
                    except OSError as error:
                        raise cannot_write(sheet, error) from error
        self._signals = JsonLines(run.signals)
        self._metrics = JsonLines(run.metrics)
        self._events = JsonLines(run.events)
        self._files = (self._signals, self._metrics, self._events)
        self._log_path = run.log
        purge_step = None if resumed_step is None else resumed_step + 1
        self._tensorboard_path = run.tensorboard
        self._hook = threading.excepthook
        threading.excepthook = self._thread_failed
        try:
            with self._written_by_tensorboard():
                self._tensorboard = SummaryWriter(str(run.tensorboard), purge_step=purge_step)
        except BaseException:
            threading.excepthook = self._hook
            raise
        notes += [file.note for file in self._files if file.note]
        for note in notes:
            self.event(max(resumed_step or 0, 0), "torn-line", note)

    def event(self, step: int, kind: str, message: str, *, tell: bool = True) -> None:
        """Record something that happened, and tell the person unless they see it anyway."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._events.append({"time": now, "step": step, "kind": kind, "message": message})
        if tell:
            append_text(self._log_path, message)
            self._reporter.message(message)

    def step(self, record: StepRecord) -> None:
        if is_written(record):
            self._signals.append(compact(record.to_json()))
        if (thinner := rows_every(record.step + 1)) > rows_every(record.step):
            message = f"from here on signals.jsonl has one step of {thinner}"
            self.event(record.step, "note", message)

    def log(self, record: StepRecord, lines: str) -> None:
        """Log a step: to the person, to `train.log` and to TensorBoard."""
        append_text(self._log_path, lines)
        self._reporter.log_lines(lines)
        with self._written_by_tensorboard():
            for name, value in _scalars(record.to_json()).items():
                self._tensorboard.add_scalar(name, value, record.step)

    def metrics(self, step: int, stage: str, values: Mapping[str, float]) -> None:
        self._metrics.append({"step": step, "stage": stage, **values})
        with self._written_by_tensorboard():
            for name, value in values.items():
                self._tensorboard.add_scalar(f"held_out/{name}", value, step)

    def samples(self, step: int, grid: np.ndarray) -> None:
        with self._written_by_tensorboard():
            self._tensorboard.add_image("samples", grid, step, dataformats="HWC")

    def sync(self) -> None:
        """Bring all rows to the disk: a checkpoint must not outlive the rows before it."""
        for file in self._files:
            file.sync()

    def close(self) -> None:
        for file in self._files:
            file.close()
        try:
            with self._written_by_tensorboard():
                self._tensorboard.close()
        finally:
            threading.excepthook = self._hook

    def _thread_failed(self, failure: threading.ExceptHookArgs) -> None:
        """TensorBoard's thread needs no traceback: its error comes with the next call."""
        module = type(failure.thread).__module__
        if not (isinstance(failure.exc_value, OSError) and module.startswith("tensorboard.")):
            self._hook(failure)

    @contextlib.contextmanager
    def _written_by_tensorboard(self) -> Iterator[None]:
        """One line for what its thread could not write; it comes with a later call."""
        try:
            yield
        except OSError as error:
            raise cannot_write(self._tensorboard_path, error) from error


def _scalars(row: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a record, with nested names joined by a slash."""
    scalars: dict[str, float] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            scalars |= _scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and name != "step":
            scalars[prefix + name] = float(value)
    return scalars


class LogLines:
    """Words the log lines in the form that GAN users and their scripts know.

        Epoch 1/5 - Step: 1900/9338  Loss G: 3.0574  Loss D: 0.2145  D(x): 0.94  D(G(z)): 0.1 / 0.1
        Time for the last step: 51.55 s    Epoch ETA: 01:04:13

    The time is that since the previous log line, as in the logs that users know. D(G(z)) is given
    before and after D's update, each measured. A stage without D has no D fields.
    """

    def __init__(self, epoch_steps: int) -> None:
        self._epoch_steps = epoch_steps
        self._since = time.perf_counter()
        self._steps_since = 0

    def restart(self) -> None:
        """Measure the next interval from now: a stage begins, or a pause ended."""
        self._since, self._steps_since = time.perf_counter(), 0

    def count(self) -> None:
        """One more step is done."""
        self._steps_since += 1

    def lines(self, record: StepRecord, stage_step: int, stage_steps: int) -> str:
        """The two lines for a step; `stage_step` counts from 1 within its stage."""
        seconds = time.perf_counter() - self._since
        epochs = -(-stage_steps // self._epoch_steps)
        epoch = -(-stage_step // self._epoch_steps)
        step_in_epoch = stage_step - (epoch - 1) * self._epoch_steps
        steps_of_epoch = min(self._epoch_steps, stage_steps - (epoch - 1) * self._epoch_steps)
        text = f"Epoch {epoch}/{epochs} - Step: {step_in_epoch}/{steps_of_epoch}"
        text += f"  Loss G: {record.g_loss:.6f}"
        if record.signals is not None:
            text += (
                f"  Loss D: {record.d_loss:.6f}  D(x): {record.signals.d_real:.6f}"
                f"  D(G(z)): {record.signals.d_fake:.6f} / {record.d_fake_after:.6f}"
            )
        remaining = (steps_of_epoch - step_in_epoch) * seconds / max(1, self._steps_since)
        clock = time.strftime("%H:%M:%S", time.gmtime(remaining))
        self.restart()
        return f"{text}\nTime for the last step: {seconds:.2f} s    Epoch ETA: {clock}"
