"""What a diagnosis says and how it is written down; what a rule is and what it answers."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from counterpoise.diagnosis.view import LEAST_ROWS, View
from counterpoise.objectives import OBJECTIVES
from counterpoise.spells import Spell

# From worst to best. `severe`: training on as it is will not help; `warning`: look at it, change
# something; `note`: worth knowing, no fault; `healthy`: nothing found, with enough evidence.
SEVERITIES = ("severe", "warning", "note", "healthy")
PROBLEMS = ("severe", "warning")  # those that make `diagnose` exit with 1


@dataclass(frozen=True)
class Evidence:
    """One number behind a finding, against what it was compared with."""

    name: str  # what was measured, in words
    value: float | None  # None where a number would say nothing
    text: str  # the sentence a person reads: the number, the threshold, how many lines


@dataclass(frozen=True)
class Remedy:
    """Something to change. The first of a finding's remedies is the likeliest to help."""

    text: str
    config: str = ""  # for counterpoise's own training: KEY=VALUE for --set
    code: str = ""  # for a hand-written loop
    source: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing that a diagnosis found. `first_step` and `last_step` count as the log does."""

    id: str
    severity: str
    first_step: int
    last_step: int
    confidence: float  # in [0, 1]
    title: str
    meaning: str
    evidence: tuple[Evidence, ...]
    remedies: tuple[Remedy, ...] = ()
    source: str = ""
    # Where the log leaves more than one objective: those under which it is so. Empty where it is so
    # under all that are likely. Such a finding is a `warning` or a `note`, and the second of its
    # evidence says how likely they are.
    if_objective: tuple[str, ...] = ()

    @property
    def conditional_title(self) -> str:
        """The title, with the objectives under which it is so, where it is not under all."""
        known = [OBJECTIVES[each].title for each in self.if_objective if each in OBJECTIVES]
        one = " or ".join(known[:3]) or "something else"
        return f"{self.title}, if D's loss is {one}" if self.if_objective else self.title


@dataclass(frozen=True)
class Candidate:
    """An objective that a log's numbers may be of."""

    objective: str  # a name of `objectives.OBJECTIVES`, or "unknown"
    probability: float  # in [0, 1]


@dataclass(frozen=True)
class NotJudged:
    """A finding that this log can neither show nor rule out."""

    id: str
    missing: tuple[str, ...]  # what would have been needed, in words


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """Everything that was found in one training run, worst first."""

    findings: tuple[Finding, ...]
    source: str  # the file or run folder
    title: str  # which training of it, where there are several
    format: str  # the log format that it was read as
    # A name of `objectives.OBJECTIVES`; "unknown" where none is likelier than all others together.
    objective: str
    objective_evidence: str  # how it is known
    first_step: int
    last_step: int
    rows: int  # that were judged
    not_judged: tuple[NotJudged, ...]
    notes: tuple[str, ...]  # on the reading of the log
    objectives: tuple[Candidate, ...] = ()  # likeliest first; their probabilities add up to 1
    program: str = ""  # a name of `programs.PROGRAMS`, where it is known what printed the log
    is_window: bool = False  # by the latest lines alone: earlier ones were left out

    @property
    def healthy(self) -> bool:
        """Whether enough was there to judge by, and nothing was wrong."""
        return "healthy" in self.ids()

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The findings that call for a change."""
        return tuple(f for f in self.findings if f.severity in PROBLEMS)

    def ids(self) -> set[str]:
        """The ids of all findings."""
        return {finding.id for finding in self.findings}

    def __repr__(self) -> str:
        found = ", ".join(f"{finding.id} ({finding.severity})" for finding in self.findings)
        return f"<Diagnosis of {lines(self.rows)}: {found}>"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return f"<pre>{html.escape(str(self))}</pre>"

    def __str__(self) -> str:
        from counterpoise.diagnosis import wording  # It is of diagnoses.

        return wording.text(self)


@dataclass(frozen=True)
class Found:
    """A rule's yes: how bad, over which rows, how sure, on which numbers."""

    severity: str
    spell: Spell
    confidence: float
    evidence: Sequence[Evidence]
    title: str = ""  # instead of the rule's own, of this log
    meaning: str = ""
    first_remedies: tuple[Remedy, ...] = ()  # before the rule's own, for this log


@dataclass(frozen=True)
class Missing:
    """A rule that this log gives nothing to judge by."""

    need: str = ""  # what it lacks, in words, where that is not all that the rule needs


Answer = Found | Missing | None
Judge = Callable[[View], Answer]


@dataclass(frozen=True)
class Rule:
    """A finding: what shows it, what it means, what to change."""

    id: str
    # None for the verdicts that stand where no rule has found a problem.
    judge: Judge | None
    title: str
    meaning: str  # two sentences
    remedies: tuple[Remedy, ...]  # the likeliest to help first
    needs: str = ""  # what a log must have for it to be judged, in words
    source: str = ""
    # Steps that a training on record step by step must have had before it is judged by this: every
    # young D is at chance, every young G's outputs are alike, and every game swings at first.
    least_steps: int = 0
    least_rows: int = LEAST_ROWS  # lines below which it is not asked


def sureness(rows: int, directness: float = 1.0) -> float:
    """Confidence from the number of rows that speak, times how directly they do."""
    return float(round(directness * (1 - 0.5 ** (rows / 4)), 2))


def lines(count: int, of: int | None = None) -> str:
    """ "5 of 15 lines", "1 line"."""
    word = "line" if (of or count) == 1 else "lines"
    return f"{count} {word}" if of is None else f"{count} of {of} {word}"


def number(value: float) -> str:
    """A number as people write it: `0.06`, `3.1e-05`."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.{4 if abs(value) < 100 else 1}f}".rstrip("0").rstrip(".")
    return f"{value:.2g}"
