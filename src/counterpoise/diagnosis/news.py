"""What is new: in a training after a change, against the diagnosis of an earlier one; and in the
diagnoses of a training under way, where each problem is reported once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from counterpoise.diagnosis.finding import PROBLEMS, SEVERITIES, Diagnosis, Finding

NEW, WORSE, SAME, BETTER, GONE, UNKNOWN = "new", "worse", "same", "better", "gone", "not judged"
GONE_AFTER = 3  # a finding is gone when so many diagnoses in a row did not find it


@dataclass(frozen=True)
class Change:
    """What became of a problem."""

    state: str  # "new", "worse", "same", "better", "gone", or "not judged" any more
    finding: Finding  # as it is now; of one that is not found any more, as it was
    severity_before: str  # "" of a new one


def changes(now: Diagnosis, before: Diagnosis) -> Iterator[Change]:
    """What became of each problem of either, those of now first, worst first.

    A problem is only gone where the log could show it: elsewhere it is not judged.
    """
    earlier = {finding.id: finding for finding in before.problems}
    for finding in now.problems:
        was = earlier.pop(finding.id, None)
        if was is None:
            yield Change(NEW, finding, "")
            continue
        worse_by = SEVERITIES.index(was.severity) - SEVERITIES.index(finding.severity)
        state = BETTER if worse_by < 0 else WORSE if worse_by else SAME
        yield Change(state, finding, was.severity)
    # Where nothing could be judged, nothing is gone.
    silent = {item.id for item in now.not_judged}
    is_silent = not now.healthy and not now.problems
    for finding in earlier.values():
        unknown = is_silent or finding.id in silent
        yield Change(UNKNOWN if unknown else GONE, finding, finding.severity)


@dataclass(frozen=True)
class News:
    """Something that changed, in a line."""

    text: str
    finding: Finding | None = None  # the problem that is new or worse; None for one that is gone


class FindingNews:
    """Remembers what was reported."""

    def __init__(self) -> None:
        # Reported findings with their severity, and for how many diagnoses they were absent.
        self._standing: dict[str, str] = {}
        self._absent: dict[str, int] = {}

    def of(self, findings: Iterable[Finding]) -> list[News]:
        """What to say of each problem that is new or has become worse, and of each that is gone."""
        problems = [finding for finding in findings if finding.severity in PROBLEMS]
        news = []
        for finding in problems:
            self._absent.pop(finding.id, None)
            before = self._standing.get(finding.id, SEVERITIES[-1])
            if SEVERITIES.index(finding.severity) < SEVERITIES.index(before):
                self._standing[finding.id] = finding.severity
                text = f"{finding.id} ({finding.severity}) since step {finding.first_step}"
                news.append(News(f"{text}: {finding.title}", finding))
        found = {finding.id for finding in problems}
        for name in [name for name in self._standing if name not in found]:
            self._absent[name] = self._absent.get(name, 0) + 1
            if self._absent[name] == GONE_AFTER:
                del self._standing[name], self._absent[name]
                news.append(News(f"{name}: no longer found"))
        return news
