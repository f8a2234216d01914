"""`diagnose` behind the command line."""

import io
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from counterpoise.commands.curves import MOST_CURVES, SHOWN, curves
from counterpoise.commands.diagnosis_formats import FORMATS, TEXT, Judged
from counterpoise.diagnosis import wording
from counterpoise.diagnosis.finding import Diagnosis
from counterpoise.diagnosis.news import GONE, NEW
from counterpoise.diagnosis.view import LEAST_ROWS
from counterpoise.errors import UserError
from counterpoise.judging import judge
from counterpoise.logs.read import text_encoding
from counterpoise.plain_files import write_text
from counterpoise.trace import Trace

EXIT_HEALTHY, EXIT_PROBLEMS, EXIT_UNREADABLE, EXIT_UNCLEAR = 0, 1, 2, 3
STANDARD_INPUT = "-"
# ANSI codes by what is said.
COLOURS = {"severe": "1;31", "warning": "1;33", "note": "1", "healthy": "1;32"}
COLOURS |= {"strong": "1", "soft": "2", "code": "36"}


def run(
    sources: Sequence[str],
    *,
    mapping: Sequence[str] = (),
    format: str = TEXT,
    everything: bool = False,
    baseline: str | None = None,
    page: Path | None = None,
    **said: Any,
) -> int:
    """Judge every source that can be read, and print what was found; the exit code. `said` are
    further options of `judge`."""
    if not sources:
        raise UserError("give a log file, a run folder, or - to read a pipe")
    show = None if format == TEXT else FORMATS[format]
    columns = parse_mapping(mapping)

    def read(source: str) -> list[tuple[Trace, Diagnosis]]:
        return judge(_opened(source), mapping=columns, **said)

    earlier = [] if baseline is None else read(baseline)
    found: list[tuple[Trace, Diagnosis]] = []
    unreadable = False
    for source in sources:
        try:
            found += read(source)
        except UserError as error:
            unreadable = True
            print(f"counterpoise: {error}", file=sys.stderr)  # noqa: T201
    # The page first: a reader of the output may stop reading.
    if page is not None and found:
        _write_page(page, found)
    runs = [Judged(*one, _same_training(one[1], earlier)) for one in found]
    if show is not None:
        print(show(runs), end="")  # noqa: T201
    else:
        width = shutil.get_terminal_size().columns
        runs.sort(key=lambda one: (one.diagnosis.rows < LEAST_ROWS, not one.trace.is_latest))
        if len(runs) > 1:
            print(f"{_summary(runs, width)}\n")  # noqa: T201
        blocks = runs if everything else _telling(runs)
        for judged in blocks:
            print(f"{shown(judged, width, everything=everything)}\n")  # noqa: T201
        if left_out := len(runs) - len(blocks):
            print(f"{left_out} more of these trainings: --all\n")  # noqa: T201
        if page is not None and runs:
            print(f"page: {page}")  # noqa: T201
    if unreadable:
        return EXIT_UNREADABLE
    if any(diagnosis.problems for _, diagnosis in found):
        return EXIT_PROBLEMS
    return EXIT_HEALTHY if all(one.diagnosis.healthy for one in _able(runs)) else EXIT_UNCLEAR


def _opened(source: str) -> Path | IO[str]:
    if not source:  # As a path it would be the folder that one is in.
        raise UserError("an empty path; give a log file, a run folder, or - for standard input")
    if source != STANDARD_INPUT:
        return Path(source)
    if isinstance(sys.stdin, io.TextIOWrapper):
        encoding = text_encoding(sys.stdin.buffer, "standard input")
        sys.stdin.reconfigure(encoding=encoding, errors="replace")
    return sys.stdin


def _same_training(
    diagnosis: Diagnosis, earlier: Sequence[tuple[Trace, Diagnosis]]
) -> tuple[Trace, Diagnosis] | None:
    """The training of an earlier log that goes by the same title, or that is alone in it."""
    alike = (one for one in earlier if one[1].title == diagnosis.title or len(earlier) == 1)
    return next(alike, None)


def _write_page(path: Path, runs: Iterable[tuple[Trace, Diagnosis]]) -> None:
    """The page of these trainings, those of one source together."""
    from counterpoise.pages.page import page  # It takes time to import.
    from counterpoise.pages.run import log_run

    sources: dict[str, list[tuple[Trace, Diagnosis]]] = {}
    for trace, diagnosis in runs:
        sources.setdefault(trace.source, []).append((trace, diagnosis))
    write_text(path, page([log_run(source, judged) for source, judged in sources.items()]))


def parse_mapping(items: Sequence[str]) -> dict[str, str]:
    """`THEIRS=OURS` pairs of `--map`; `UserError` for one that is not a pair."""
    mapping = {}
    for item in items:
        theirs, equals, ours = item.rpartition("=")
        if not equals or not theirs or not ours:
            raise UserError(f"--map {item}: write it as THEIR_COLUMN=OUR_COLUMN, e.g. errD=d_loss")
        mapping[theirs] = ours
    return mapping


def _able(runs: Sequence[Judged]) -> list[Judged]:
    """Those of enough lines to be judged; of a source that has none, all."""
    enough = {j.diagnosis.source for j in runs if j.diagnosis.rows >= LEAST_ROWS}
    return [j for j in runs if j.diagnosis.rows >= LEAST_ROWS or j.diagnosis.source not in enough]


def _telling(runs: Sequence[Judged]) -> list[Judged]:
    """Of each source's trainings that go on to its end, those that something is wrong with, or else
    the least well."""
    chosen: list[Judged] = []
    able = _able(runs)
    for source in dict.fromkeys(judged.diagnosis.source for judged in able):
        of_source = [judged for judged in able if judged.diagnosis.source == source]
        of_source = [judged for judged in of_source if judged.trace.is_latest] or of_source[-1:]
        of_source.sort(key=lambda judged: judged.diagnosis.healthy)
        chosen += [judged for judged in of_source if judged.diagnosis.problems] or of_source[:1]
    return chosen


def _summary(runs: Sequence[Judged], width: int) -> str:
    """The answer for each of several trainings, before all that is said of one."""
    each = [judged.diagnosis for judged in runs]
    is_one_source = len({d.source for d in each}) == 1
    answers = (
        wording.Said(
            wording.verdict(d, d.title if is_one_source else f"{d.source} {d.title}".strip()),
            d.findings[0].severity,
        )
        for d in each
    )
    return wording.rendered([answers], width, _colours())


def _colours() -> dict[str, str] | None:
    return COLOURS if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else None


def shown(judged: Judged, width: int, *, everything: bool) -> str:
    """The page in the terminal: the answer, what to do first, the evidence, what is left open."""
    diagnosis, trace = judged.diagnosis, judged.trace
    most = len(SHOWN) if everything else MOST_CURVES
    parts = (
        wording.answer(diagnosis),
        _changed(judged),
        wording.advice(diagnosis, trace.is_own_training, everything=everything),
        wording.evidence(diagnosis, everything=everything),
        curves(trace, judged.before and judged.before[0], width, most=most),
        wording.rest(diagnosis, more="" if everything else "--all"),
    )
    return wording.rendered(parts, width, _colours())


def _changed(judged: Judged) -> Iterable[wording.Said]:
    """What became of each problem since the baseline."""
    if judged.before is None:
        return
    yield wording.Said(f"Against {judged.before[1].source}:", "strong")
    for change in judged.changes:
        finding = change.finding
        title = f"{change.state}: {finding.title} [{finding.id}]"
        severity = finding.severity
        if change.state == GONE:
            severity = f"was {change.severity_before}"
        elif change.state != NEW:
            severity += f", was {change.severity_before}"
        yield wording.Said(f"{title} {severity}", indent=2)
    if not judged.changes:
        yield wording.Said("no problem in either", indent=2)
