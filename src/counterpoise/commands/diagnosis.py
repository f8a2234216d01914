"""`diagnose` behind the command line."""

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from counterpoise.commands.console import SEVERITY_STYLES
from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.diagnosis.finding import Diagnosis, Finding, Remedy
from counterpoise.diagnosis.found import number
from counterpoise.errors import UserError
from counterpoise.logs.lines import text_encoding
from counterpoise.logs.read import read_log
from counterpoise.trace import Trace
from counterpoise.wording import (
    headline,
    objective_line,
    shown_series,
    span,
    sparkline,
    todo,
    verdict,
)

EXIT_HEALTHY, EXIT_PROBLEMS, EXIT_UNREADABLE = 0, 1, 2
STANDARD_INPUT = "-"
# Columns of a curve where there is room, and where there is none; of the numbers beside it.
CHART_WIDTH, LEAST_CHART_WIDTH, NUMBERS_WIDTH = 48, 8, 24
SHOWN_REMEDIES = 4

JSON = TypeAdapter(Diagnosis)


def run(
    sources: Sequence[str],
    objective: str | None,
    mapping: Sequence[str],
    as_json: bool,
    page: Path | None,
    console: Console,
    *,
    d_loss_is_mean: bool = False,
) -> int:
    """Judge every source that can be read, and print what was found; the exit code."""
    columns = parse_mapping(mapping)
    runs: list[tuple[Trace, Diagnosis]] = []
    unreadable = False
    for source in sources:
        try:
            runs += [
                (trace, diagnose(trace, objective, d_loss_is_mean=d_loss_is_mean))
                for trace in read_source(source, columns, objective)
            ]
        except UserError as error:
            unreadable = True
            print(f"counterpoise: {error}", file=sys.stderr)  # noqa: T201
    # The page first: a reader of the output may stop reading.
    if page is not None and runs:
        _write_page(page, runs)
    for trace, diagnosis in runs:
        if as_json:
            print(to_json(diagnosis))  # noqa: T201
        else:
            print_diagnosis(trace, diagnosis, console)
    if page is not None and runs and not as_json:
        console.print(f"page: {page}", markup=False, highlight=False, soft_wrap=True)
    if unreadable:
        return EXIT_UNREADABLE
    return EXIT_HEALTHY if all(d.healthy for _, d in runs) else EXIT_PROBLEMS


def _write_page(path: Path, runs: Sequence[tuple[Trace, Diagnosis]]) -> None:
    """The page of these trainings, those of one source together."""
    from counterpoise.commands.reporting import write_page  # A page takes time to import.
    from counterpoise.pages.run import log_run

    sources: dict[str, list[tuple[Trace, Diagnosis]]] = {}
    for trace, diagnosis in runs:
        sources.setdefault(trace.source, []).append((trace, diagnosis))
    write_page(path, [log_run(source, judged) for source, judged in sources.items()])


def read_source(source: str, columns: dict[str, str], objective: str | None) -> list[Trace]:
    """The training runs of a file, a run folder or standard input."""
    if not source:  # As a path it would be the folder that one is in.
        raise UserError("an empty path; give a log file, a run folder, or - for standard input")
    if source == STANDARD_INPUT:
        if isinstance(sys.stdin, io.TextIOWrapper):
            encoding = text_encoding(sys.stdin.buffer, "standard input")
            sys.stdin.reconfigure(encoding=encoding, errors="replace")
        return read_log(sys.stdin, mapping=columns, objective=objective)
    return read_log(Path(source), mapping=columns, objective=objective)


def parse_mapping(items: Sequence[str]) -> dict[str, str]:
    """`THEIRS=OURS` pairs of `--map`; `UserError` for one that is not a pair."""
    mapping = {}
    for item in items:
        theirs, equals, ours = item.rpartition("=")
        if not equals or not theirs or not ours:
            raise UserError(f"--map {item}: write it as THEIR_COLUMN=OUR_COLUMN, e.g. errD=d_loss")
        mapping[theirs] = ours
    return mapping


def to_json(diagnosis: Diagnosis) -> str:
    """A diagnosis as one line of JSON, of the schema that `json_schema` gives."""
    return JSON.dump_json(diagnosis).decode()


def json_schema() -> str:
    """The JSON schema of a line of `diagnose --json`."""
    return json.dumps(JSON.json_schema(mode="serialization"), indent=2)


def print_diagnosis(trace: Trace, diagnosis: Diagnosis, console: Console) -> None:
    """The page in the terminal: verdict, curves, findings, what could not be judged."""
    _say(console, headline(diagnosis), "bold")
    worst = diagnosis.findings[0].severity
    _say(console, verdict(diagnosis), SEVERITY_STYLES[worst])
    _say(console, objective_line(diagnosis), "dim")
    console.print()
    _print_curves(trace, console)
    shown: set[str] = set()
    for finding in diagnosis.findings:
        _print_finding(finding, trace.policy, shown, console)
    if diagnosis.not_judged:
        _say(console, "Not judged, for lack of", "bold")
        needs: dict[str, list[str]] = {}
        for item in diagnosis.not_judged:
            needs.setdefault(", or ".join(item.missing), []).append(item.id)
        for needed, ids in needs.items():
            _say(console, f"{needed}: {', '.join(ids)}", "dim", indent=2)
        console.print()
    for note in diagnosis.notes:
        _say(console, f"Note: {note}", "dim")


def _print_curves(trace: Trace, console: Console) -> None:
    series = shown_series(trace)
    width = max((len(title) for title, _ in series), default=0)
    room = max(LEAST_CHART_WIDTH, min(CHART_WIDTH, console.width - width - NUMBERS_WIDTH))
    table = Table.grid(padding=(0, 2))
    for title, values in series:
        least, most = number(float(values.min())), number(float(values.max()))
        table.add_row(Text(title), sparkline(values, room), f"{least} to {most}")
    if series:
        console.print(table, "", highlight=False)


def _print_finding(finding: Finding, policy: str | None, shown: set[str], console: Console) -> None:
    """A finding, with the remedies that no finding above it has named already (`shown`)."""
    line = Text()
    line.append(f"{finding.severity} ", SEVERITY_STYLES[finding.severity])
    line.append(f"{finding.title} ", "bold")
    line.append(f"[{finding.id}] {span(finding)}", "dim")
    console.print(line)
    _say(console, finding.meaning, "", indent=2)
    for item in finding.evidence:
        _say(console, f"- {item.text}", "", indent=4)
    remedies = [r for r in finding.remedies if r.text not in shown]
    if remedies:
        _say(console, f"{todo(finding)}:", "bold", indent=2)
    elif finding.remedies:
        _say(console, "What to change: as above", "bold", indent=2)
    for place, remedy in enumerate(remedies[:SHOWN_REMEDIES], start=1):
        shown.add(remedy.text)
        _say(console, f"{place}. {remedy.text}", "", indent=4)
        if how := remedy_how(remedy, policy):
            _say(console, how, "cyan", indent=7)
    if finding.source:
        _say(console, f"Source: {finding.source}", "dim", indent=2)
    console.print()


def remedy_how(remedy: Remedy, policy: str | None) -> str:
    """How a remedy is done: `--set ...` in a run of ours (it has a policy), code elsewhere."""
    return f"--set {remedy.config}" if policy is not None and remedy.config else remedy.code


def _say(console: Console, text: str, style: str, indent: int = 0) -> None:
    """Text that may come from a log: never read as markup."""
    console.print(Padding(Text(text, style=style), (0, 0, 0, indent), expand=False))
