"""What is new in the diagnoses of a training under way: each problem is reported once."""

from collections.abc import Iterable
from dataclasses import dataclass

from counterpoise.diagnosis.finding import PROBLEMS, SEVERITIES, Finding

GONE_AFTER = 3  # a finding is gone when so many diagnoses in a row did not find it


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
        for name in self._standing.keys() - {finding.id for finding in problems}:
            self._absent[name] = self._absent.get(name, 0) + 1
            if self._absent[name] == GONE_AFTER:
                del self._standing[name], self._absent[name]
                news.append(News(f"{name}: no longer found"))
        return news
