"""What a diagnosis says, and how it is written down."""

from dataclasses import dataclass

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


@dataclass(frozen=True)
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
    program: str = ""  # a name of `programs.programs`, where it is known what printed the log

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

    def __str__(self) -> str:
        from counterpoise.diagnosis import wording  # It is of diagnoses.

        return wording.text(self)
