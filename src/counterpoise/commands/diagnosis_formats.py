"""Diagnoses for programs: JSON lines, SARIF, and GitHub's workflow commands."""

import json
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

from counterpoise.diagnosis.diagnose import RULES
from counterpoise.diagnosis.finding import Diagnosis, Finding
from counterpoise.diagnosis.news import BETTER, GONE, NEW, SAME, WORSE, Change, changes
from counterpoise.diagnosis.wording import remedies, span, verdict
from counterpoise.errors import one_line
from counterpoise.json_lines import without_non_finite
from counterpoise.registry import Registry
from counterpoise.run_folder import version
from counterpoise.trace import Trace

TEXT = "text"
SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
# GitHub's commands, by severity.
COMMANDS = {"severe": "error", "warning": "warning", "note": "notice", "healthy": "notice"}
# SARIF's kind of what is no fault.
KINDS = {"healthy": "pass", "not-enough-evidence": "open"}
# SARIF's words for what became of a problem; of one that is not judged any more it has none.
STATES = {NEW: "new", WORSE: "updated", BETTER: "updated", SAME: "unchanged", GONE: "absent"}


@dataclass(frozen=True)
class Judged:
    """A training, what was found in it, and the same of an earlier one to compare it with."""

    trace: Trace
    diagnosis: Diagnosis
    before: tuple[Trace, Diagnosis] | None = None

    @property
    def changes(self) -> list[Change]:
        """What became of each problem since then."""
        return [] if self.before is None else [*changes(self.diagnosis, self.before[1])]


def json_lines(runs: Iterable[Judged]) -> str:
    """A line of JSON for each training."""
    return "".join(f"{to_json(one)}\n" for one in runs)


def to_json(judged: Judged) -> str:
    """A line of the schema in `docs/diagnosis.schema.json`; numbers that JSON lacks are null."""
    diagnosis = judged.diagnosis
    first = next(map(asdict, remedies(diagnosis)), None)
    # In the order in which it is said everywhere.
    tree = {"answer": verdict(diagnosis), "findings": (), "do_first": first, "not_judged": ()}
    tree |= asdict(diagnosis)
    if judged.before is not None:
        changed = [{"state": c.state, "id": c.finding.id} for c in judged.changes]
        tree["against"] = {"source": judged.before[1].source, "changes": changed}
    return json.dumps(without_non_finite(tree), separators=(",", ":"))


def sarif(runs: Sequence[Judged]) -> str:
    """One SARIF 2.1.0 log: a result for each finding, and with a baseline what became of it."""
    rules = [{"id": rule.id, "shortDescription": {"text": rule.title}} for rule in RULES.values()]
    tool = {"name": "counterpoise", "version": version("counterpoise"), "rules": rules}
    results = [result for one in runs for result in _results(one)]
    log = {"tool": {"driver": tool}, "results": results}
    return json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [log]}, indent=2) + "\n"


def _results(judged: Judged) -> Iterator[dict[str, Any]]:
    uri = quote(judged.diagnosis.source)
    states = {change.finding.id: change.state for change in judged.changes}
    gone = [change.finding for change in judged.changes if change.state == GONE]
    for finding in (*judged.diagnosis.findings, *gone):
        # Of what is no fault the level has to be none.
        kind = KINDS.get(finding.id, "fail")
        level = COMMANDS[finding.severity].replace("notice", "note") if kind == "fail" else "none"
        result = {
            "ruleId": finding.id,
            "kind": kind,
            "level": level,
            "message": {"text": _message(finding, judged.diagnosis.notes)},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri}}}],
        }
        state = STATES.get(states.get(finding.id, ""))
        yield result | ({"baselineState": state} if state else {})


def github(runs: Iterable[Judged]) -> str:
    """A workflow command for each finding, which GitHub shows beside the job."""
    lines = []
    for one in runs:
        states = {change.finding.id: f"{change.state}: " for change in one.changes}
        for finding in one.diagnosis.findings:
            game = f"{one.diagnosis.title}: " if one.diagnosis.title else ""
            title = f"{game}{states.get(finding.id, '')}{finding.title}"
            where = f"file={_escaped(one.diagnosis.source, ':,')},title={_escaped(title, ':,')}"
            is_first = finding is one.diagnosis.findings[0]
            message = _escaped(_message(finding, one.diagnosis.notes, advises=is_first))
            lines.append(f"::{COMMANDS[finding.severity]} {where}::{message}\n")
    return "".join(lines)


def _escaped(text: str, more: str = "") -> str:
    """A line as GitHub's commands want it, in their properties with `more`."""
    return "".join(f"%{ord(c):02X}" if c in f"%{more}" else c for c in one_line(text))


def _message(finding: Finding, notes: Container[str], *, advises: bool = True) -> str:
    """A finding in a paragraph: what, since when, on which numbers, what to do first."""
    numbers = "; ".join(item.text for item in finding.evidence)
    message = f"{finding.title} ({span(finding, notes)}): {numbers}."
    todo = finding.remedies[:1] if advises else ()
    return message + "".join(f" What to do first: {remedy.text}" for remedy in todo)


FORMATS: Registry[Callable[[Sequence[Judged]], str]] = Registry(
    "format", ("json", json_lines), ("sarif", sarif), ("github", github)
)
