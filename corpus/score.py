"""Precision and recall of `counterpoise diagnose` on the corpus, per finding.

    python corpus/score.py [--split tuning|held-out|all] [--names]

A finding that is expected and given is a hit, expected and not given a miss, given and neither
expected nor allowed a false positive. `--names` lists the logs with misses and false positives of
the tuning part; those of the held-out part are never listed, so that nobody tunes on them.

Exit code 1 where recall (over all expected findings) on the held-out part is under 0.9, or a
healthy run of the chosen parts has a `severe` finding.
"""

import argparse
import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.logs.read import read_log

FOLDER = Path(__file__).parent
SPLITS = ("tuning", "held-out")
LEAST_RECALL = 0.9


@dataclass
class Score:
    """What was found in one part of the corpus."""

    hits: Counter[str] = field(default_factory=Counter)
    false: Counter[str] = field(default_factory=Counter)
    misses: Counter[str] = field(default_factory=Counter)
    logs: int = 0
    healthy_logs: int = 0
    severe_on_healthy: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)

    def recall(self) -> float:
        """Share of all expected findings that were given (micro average)."""
        return ratio(self.hits.total(), self.misses.total())

    def precision(self) -> float:
        """Share of all given findings, those allowed left out, that were expected."""
        return ratio(self.hits.total(), self.false.total())

    def macro_recall(self) -> float:
        """Mean over the findings of their recall."""
        ids = sorted(self.hits.keys() | self.misses.keys())
        return sum(ratio(self.hits[i], self.misses[i]) for i in ids) / max(1, len(ids))


def ratio(good: int, bad: int) -> float:
    """Good among all; NaN where there is none."""
    return good / (good + bad) if good + bad else float("nan")


def score_split(split: str) -> Score:
    """Diagnose every log of a part and compare with its labels."""
    score = Score()
    folder = FOLDER / split
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for name, entry in manifest.items():
        traces = read_log(folder / entry["file"])
        findings = [
            finding
            for trace in traces
            for finding in diagnose(trace, objective=entry["objective_told"]).findings
        ]
        given = {finding.id for finding in findings}
        expected, allowed = set(entry["expected"]), set(entry["allowed"])
        score.logs += 1
        score.hits.update(given & expected)
        score.misses.update(expected - given)
        score.false.update(given - expected - allowed)
        # A log whose objective nobody told is healthy too, even if a reader cannot know it.
        if "healthy" in expected or (not expected and "healthy" in allowed):
            score.healthy_logs += 1
            severe = sorted(f.id for f in findings if f.severity == "severe")
            if severe:
                score.severe_on_healthy.append(f"{name}: {', '.join(severe)}")
        if expected - given or given - expected - allowed:
            missed = ", ".join(sorted(expected - given)) or "nothing"
            wrong = ", ".join(sorted(given - expected - allowed)) or "nothing"
            score.details.append(f"{name}: missed {missed}; wrongly found {wrong}")
    return score


def table(split: str, score: Score) -> str:
    """The part's numbers, finding by finding."""
    lines = [
        f"{split}: {score.logs} logs",
        f"{'finding':<26}{'hits':>6}{'false':>7}{'missed':>8}{'precision':>11}{'recall':>8}",
    ]
    for name in sorted(score.hits.keys() | score.false.keys() | score.misses.keys()):
        hits, false, missed = score.hits[name], score.false[name], score.misses[name]
        lines.append(
            f"{name:<26}{hits:>6}{false:>7}{missed:>8}"
            f"{share(ratio(hits, false)):>11}{share(ratio(hits, missed)):>8}"
        )
    lines.append(
        f"{'all':<26}{score.hits.total():>6}{score.false.total():>7}{score.misses.total():>8}"
        f"{share(score.precision()):>11}{share(score.recall()):>8}"
    )
    lines.append(f"recall, mean over findings: {share(score.macro_recall())}")
    lines.append(
        f"healthy runs with a severe finding: {len(score.severe_on_healthy)} "
        f"of {score.healthy_logs}"
    )
    return "\n".join(lines)


def share(value: float) -> str:
    """A ratio with three digits, or a dash where there was nothing to count."""
    return "-" if value != value else f"{value:.3f}"


def main() -> int:
    """Print the table of each chosen part; the exit code is described above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", choices=(*SPLITS, "all"), default="all")
    parser.add_argument("--names", action="store_true", help="name the tuning logs that differ")
    options = parser.parse_args()
    failed = False
    for split in SPLITS if options.split == "all" else (options.split,):
        score = score_split(split)
        print(table(split, score))
        for line in score.severe_on_healthy:
            print(f"  severe on a healthy run: {line if split == 'tuning' else line.split(':')[1]}")
        if options.names and split == "tuning":
            print("\n".join(f"  {line}" for line in score.details))
        print()
        failed |= bool(score.severe_on_healthy)
        failed |= split == "held-out" and not score.recall() >= LEAST_RECALL
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
