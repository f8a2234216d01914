"""`diagnose` behind the command line."""

import io
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from counterpoise.commands.diagnosis_formats import FORMATS, TEXT, Judged
from counterpoise.diagnosis import wording
from counterpoise.diagnosis.baseline import NEW, changes
from counterpoise.diagnosis.finding import Diagnosis
from counterpoise.diagnosis.found import number
from counterpoise.errors import UserError
from counterpoise.judging import judge
from counterpoise.logs.lines import text_encoding
from counterpoise.trace import Trace

if TYPE_CHECKING:
    from rich.console import Console

EXIT_HEALTHY, EXIT_PROBLEMS, EXIT_UNREADABLE, EXIT_UNCLEAR = 0, 1, 2, 3
STANDARD_INPUT = "-"
# Columns of a curve where there is room, and where there is none; of the numbers beside it.
CHART_WIDTH, LEAST_CHART_WIDTH, NUMBERS_WIDTH = 48, 8, 24


@dataclass(frozen=True)
class Options:
    """What a person asks of `diagnose`, beside the logs."""

    objective: str | None = None
    mapping: Sequence[str] = ()  # `THEIRS=OURS`
    d_loss_is_mean: bool = False
    form: str = TEXT  # "text" or a name of `diagnosis_formats.FORMATS`
    everything: bool = False  # not the first of the evidence and of the remedies alone
    baseline: str | None = None  # an earlier log or run
    page: Path | None = None  # where a page is written, too


def run(sources: Sequence[str], options: Options, console: "Console") -> int:
    """Judge every source that can be read, and print what was found; the exit code."""
    show = None if options.form == TEXT else FORMATS[options.form]
    found: list[tuple[Trace, Diagnosis]] = []
    earlier = _read(options.baseline, options) if options.baseline is not None else []
    unreadable = False
    for source in sources:
        try:
            found += _read(source, options)
        except UserError as error:
            unreadable = True
            print(f"counterpoise: {error}", file=sys.stderr)  # noqa: T201
    # The page first: a reader of the output may stop reading.
    if options.page is not None and found:
        _write_page(options.page, found)
    runs = [Judged(*one, *_same_training(one[1], earlier)) for one in found]
    if show is not None:
        print(show(runs), end="")  # noqa: T201
    else:
        for judged in runs:
            print_diagnosis(judged, console, everything=options.everything)
        if options.page is not None and runs:
            console.print(f"page: {options.page}", markup=False, highlight=False, soft_wrap=True)
    if unreadable:
        return EXIT_UNREADABLE
    if any(diagnosis.problems for _, diagnosis in found):
        return EXIT_PROBLEMS
    return EXIT_HEALTHY if all(d.healthy for _, d in found) else EXIT_UNCLEAR


def _read(source: str, options: Options) -> list[tuple[Trace, Diagnosis]]:
    """The training runs of a file, a run folder or standard input, judged."""
    if not source:  # As a path it would be the folder that one is in.
        raise UserError("an empty path; give a log file, a run folder, or - for standard input")
    if source == STANDARD_INPUT and isinstance(sys.stdin, io.TextIOWrapper):
        encoding = text_encoding(sys.stdin.buffer, "standard input")
        sys.stdin.reconfigure(encoding=encoding, errors="replace")
    return judge(
        sys.stdin if source == STANDARD_INPUT else Path(source),
        objective=options.objective,
        mapping=parse_mapping(options.mapping),
        d_loss_is_mean=options.d_loss_is_mean,
    )


def _same_training(
    diagnosis: Diagnosis, earlier: Sequence[tuple[Trace, Diagnosis]]
) -> tuple[Trace | None, Diagnosis | None]:
    """The training of an earlier log that goes by the same title, or that is alone in it."""
    alike = [one for one in earlier if one[1].title == diagnosis.title or len(earlier) == 1]
    return alike[0] if alike else (None, None)


def _write_page(path: Path, runs: Iterable[tuple[Trace, Diagnosis]]) -> None:
    """The page of these trainings, those of one source together."""
    from counterpoise.commands.reporting import write_page  # A page takes time to import.
    from counterpoise.pages.run import log_run

    sources: dict[str, list[tuple[Trace, Diagnosis]]] = {}
    for trace, diagnosis in runs:
        sources.setdefault(trace.source, []).append((trace, diagnosis))
    write_page(path, [log_run(source, judged) for source, judged in sources.items()])


def parse_mapping(items: Sequence[str]) -> dict[str, str]:
    """`THEIRS=OURS` pairs of `--map`; `UserError` for one that is not a pair."""
    mapping = {}
    for item in items:
        theirs, equals, ours = item.rpartition("=")
        if not equals or not theirs or not ours:
            raise UserError(f"--map {item}: write it as THEIR_COLUMN=OUR_COLUMN, e.g. errD=d_loss")
        mapping[theirs] = ours
    return mapping


def print_diagnosis(judged: Judged, console: "Console", *, everything: bool) -> None:
    """The page in the terminal: the answer, the evidence, what to do first, what is left open."""
    diagnosis, trace = judged.diagnosis, judged.trace
    _say(console, wording.answer(diagnosis))
    if judged.before is not None:
        console.print()
        _say(console, _changed(judged))
    console.print()
    _print_curves(judged, console)
    _say(console, wording.evidence(diagnosis, everything=everything))
    console.print()
    _say(console, wording.advice(diagnosis, trace.policy, more="" if everything else "--all"))
    console.print()


def _changed(judged: Judged) -> Iterable[wording.Said]:
    """What became of each problem since the baseline."""
    assert judged.before is not None
    yield wording.Said(f"Against {judged.before.source}:", "strong")
    found = list(changes(judged.diagnosis, judged.before))
    for change in found:
        was = f", was {change.severity_before}" if change.state != NEW else ""
        text = f"{change.state}: {wording.title_of(change.finding)}"
        yield wording.Said(text, "", 2, f"[{change.finding.id}] {change.finding.severity}{was}")
    if not found:
        yield wording.Said("no problem in either", indent=2)


def _print_curves(judged: Judged, console: "Console") -> None:
    from rich.table import Table
    from rich.text import Text

    series = wording.shown_series(judged.trace)
    before = {} if judged.trace_before is None else dict(wording.shown_series(judged.trace_before))
    width = max((len(title) for title, _ in series), default=0)
    room = max(LEAST_CHART_WIDTH, min(CHART_WIDTH, console.width - width - NUMBERS_WIDTH))
    table = Table.grid(padding=(0, 2))
    for title, values in series:
        numbers = f"{number(float(values.min()))} to {number(float(values.max()))}"
        if title in before:
            ends = [number(wording.at_end(each)) for each in (values, before[title])]
            numbers = "at the end {}, before {}".format(*ends)
        table.add_row(Text(title), wording.sparkline(values, room), numbers)
    if series:
        console.print(table, "", highlight=False)


def _say(console: "Console", paragraphs: Iterable[wording.Said]) -> None:
    """Texts that may come from a log: never read as markup."""
    from rich.padding import Padding
    from rich.text import Text

    from counterpoise.commands.console import STYLES

    for said in paragraphs:
        line = Text(said.text, STYLES[said.kind])
        if said.tail:
            line.append(f" {said.tail}", STYLES["soft"])
        console.print(Padding(line, (0, 0, 0, said.indent), expand=False))
