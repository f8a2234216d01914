"""What a person sees in the terminal: progress, log lines, tables."""

from collections.abc import Mapping, Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

METRIC_TITLES = {
    "psnr_y": "PSNR (Y)",
    "ssim_y": "SSIM (Y)",
    "psnr_rgb": "PSNR (RGB)",
    "ssim_rgb": "SSIM (RGB)",
}


def progress_columns() -> tuple[ProgressColumn, ...]:
    """What a bar of ours shows: what, how much of it, since when, and for how long."""
    return (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )


class ConsoleReporter:
    """Prints a training's lines above a progress bar with ETA (no bar where output is piped)."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            *progress_columns(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> "ConsoleReporter":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def message(self, text: str) -> None:
        self.log_lines(text)

    def log_lines(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def progress(self, step: int, total_steps: int, stage: str) -> None:
        if self._task is None:
            # The bar counts from where this process took over, so that its ETA is right.
            self._task = self._progress.add_task(stage, total=total_steps, completed=step - 1)
        self._progress.update(self._task, completed=step, description=stage)


def metrics_table(title: str, rows: Sequence[tuple[str, Mapping[str, float]]]) -> Table:
    """A table of methods against metrics."""
    table = Table(title=title, title_justify="left")
    table.add_column("method")
    for heading in METRIC_TITLES.values():
        table.add_column(heading, justify="right")
    for method, values in rows:
        cells = [f"{values[m]:.2f}" if "psnr" in m else f"{values[m]:.4f}" for m in METRIC_TITLES]
        table.add_row(method, *cells)
    return table
