"""What a person sees in the terminal: progress, log lines, tables."""

from collections.abc import Iterable, Mapping, Sequence

from rich import get_console, progress
from rich.console import Console
from rich.table import Table
from rich.text import Text

from counterpoise.training.reporting import Reporter

# Steps and cells may take minutes each: the ETA is by the last half hour, not half minute.
ETA_SECONDS = 1800.0


class ConsoleReporter(Reporter):
    """Prints a training's lines above a progress bar with ETA (no bar where output is piped)."""

    def __init__(self) -> None:
        console = get_console()
        self._progress = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("ETA"),
            progress.TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
            speed_estimate_period=ETA_SECONDS,
        )
        self._task: progress.TaskID | None = None

    def __enter__(self) -> "ConsoleReporter":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        say(text)

    def progress(self, step: int, total_steps: int, stage: str) -> None:
        if self._task is None:
            # The bar counts from where this process took over, so that its ETA is right.
            self._task = self._progress.add_task(stage, total=total_steps, completed=step - 1)
        self._progress.update(self._task, total=total_steps, completed=step, description=stage)


def print_metrics(title: str, rows: Sequence[tuple[str, Mapping[str, float]]]) -> None:
    """A table of methods against the metrics that at least one of them has."""
    from counterpoise.evaluate.measures import MEASURES

    shown = [m for name, m in MEASURES.items() if any(name in values for _, values in rows)]
    headings = ["method", *(measure.title for measure in shown)]
    cells = [[m, *(x.text(v.get(x.name, float("nan"))) for x in shown)] for m, v in rows]
    print_table(title, headings, cells)


def print_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table of any width; all columns but the first are aligned as numbers are."""
    table = Table(title=Text(title), title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console = get_console()
    if not console.is_terminal:
        console = Console(file=console.file, width=10_000, quiet=console.quiet)
    console.print(table)


def say(text: str) -> None:
    """Print a line as it is: nothing in it is markup, and it is not broken."""
    get_console().print(text, markup=False, highlight=False, soft_wrap=True)
