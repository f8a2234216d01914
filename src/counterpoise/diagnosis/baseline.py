"""What changed between the diagnoses of two trainings: an earlier one, and one after a change."""

from collections.abc import Iterator
from dataclasses import dataclass

from counterpoise.diagnosis.finding import SEVERITIES, Diagnosis, Finding

NEW, WORSE, SAME, BETTER, GONE, UNKNOWN = "new", "worse", "same", "better", "gone", "not judged"


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
        severity = earlier[finding.id].severity if finding.id in earlier else ""
        worse_by = 0
        if severity:
            worse_by = SEVERITIES.index(severity) - SEVERITIES.index(finding.severity)
        state = (BETTER if worse_by < 0 else WORSE if worse_by else SAME) if severity else NEW
        yield Change(state, finding, severity)
    # Where nothing could be judged, nothing is gone.
    silent = {item.id for item in now.not_judged}
    is_silent = not now.healthy and not now.problems
    still = {finding.id for finding in now.problems}
    for finding in earlier.values():
        if finding.id not in still:
            unknown = is_silent or finding.id in silent
            yield Change(UNKNOWN if unknown else GONE, finding, finding.severity)
