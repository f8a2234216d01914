"""What a training tells a person, and how its log lines are worded."""

import time

from counterpoise.records import StepRecord
from counterpoise.run_writer import loss_line
from counterpoise.training.plan import Stage


class Reporter:
    """Where a training tells a person what happens. This one says nothing, for library use and for
    all processes but the first; the command line's prints it."""

    def say(self, text: str) -> None:
        """What happened, or the lines of a logged step."""

    def progress(self, step: int, total_steps: int, stage: str) -> None:
        """Step `step` of all the training's steps is done."""


class LogLines:
    """Words the log lines in the form that GAN users and their scripts know.

    Epoch 1/5 - Step: 1900/9338  Loss G: 3.0574  Loss D: 0.2145  D(x): 0.94  D(G(z)): 0.1 / 0.1
    Time since the last line: 51.55 s    Epoch ETA: 01:04:13
    """

    def __init__(self, epoch_steps: int, step: int) -> None:
        self._epoch_steps = epoch_steps
        self.restart(step)

    def restart(self, step: int) -> None:
        """Measure the next interval from now, the end of a step."""
        self._since, self._step = time.perf_counter(), step

    def lines(self, record: StepRecord, stage: Stage) -> str:
        """The two lines for a step."""
        seconds = time.perf_counter() - self._since
        epochs = -(-stage.steps // self._epoch_steps)
        epoch, before = divmod(record.step - stage.first_step, self._epoch_steps)
        steps_of_epoch = min(self._epoch_steps, stage.steps - epoch * self._epoch_steps)
        text = f"Epoch {epoch + 1}/{epochs} - Step: {before + 1}/{steps_of_epoch}"
        remaining = (steps_of_epoch - before - 1) * seconds / (record.step - self._step)
        minutes, left = divmod(round(remaining), 60)
        clock = f"{minutes // 60:02}:{minutes % 60:02}:{left:02}"
        self.restart(record.step)
        times = f"Time since the last line: {seconds:.2f} s    Epoch ETA: {clock}"
        return f"{text}  {loss_line(record)}\n{times}"
