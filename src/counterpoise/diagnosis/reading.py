"""One way to take a log's numbers, and how likely it is beside others, in words."""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from counterpoise.objectives import OBJECTIVES, UNKNOWN, Objective
from counterpoise.programs import Program

WORTH_A_WORD = 0.02  # the probability of what is named
MOST_NAMED = 3  # of several objectives in a sentence

# An objective of which nothing is known: no number of it says anything.
SOMETHING_ELSE = Objective(UNKNOWN, "something else", math.nan, d_loss_reaches_zero=False)


@dataclass(frozen=True)
class Reading:
    """One way to take a log's numbers."""

    objective: str  # a name of `OBJECTIVES`, or "unknown"
    is_mean: bool = False  # D's loss is the mean of its halves, though nobody says so
    is_turned: bool = False  # D's loss has its sign turned: it is the value that D maximises
    labels_flipped: bool = False  # D was asked for 0 on real images and for 1 on fake ones
    probability: float = 1.0
    evidence: str = ""  # how it is known, the others beside it

    @property
    def facts(self) -> Objective:
        """What is known of its objective."""
        return OBJECTIVES.get(self.objective, SOMETHING_ELSE)

    @property
    def title(self) -> str:
        """What it is called in a sentence."""
        parts = [(self.is_mean, "mean of its halves"), (self.is_turned, "sign turned")]
        rest = ", ".join(text for yes, text in parts if yes)
        return f"{self.facts.title} ({rest})" if rest else self.facts.title


Ranked = Sequence[tuple[float, Reading]]  # with their probabilities, likeliest first


def how_known(ranked: Ranked, given: str, source: str, program: Program) -> str:
    """How an objective is known: who has `given` it, or how likely it is by what (`source`) and
    what else it may be, beside what its program trains with."""
    likeliest = ranked[0][1]
    evidence = given or _percentages(ranked, source, is_usual=UNKNOWN in program.objectives)
    if not given and program.objectives:
        titles = [OBJECTIVES[each].title for each in program.objectives if each in OBJECTIVES]
        usual = ", ".join(titles) or "what is no game of real against fake"
        is_of_program = likeliest.objective in program.objectives
        how = f"{program.title} trains with {'it' if is_of_program and titles else usual}"
        evidence += f"; {how}" if is_of_program else f"; but {how}"
    return evidence + ("; D's loss is the mean of its halves" if likeliest.is_mean else "")


def _percentages(ranked: Ranked, source: str, *, is_usual: bool) -> str:
    """How likely the likeliest objective is, by what, and what else it may be."""
    shares: dict[str, float] = defaultdict(float)
    for share, reading in ranked:
        shares[dataclasses.replace(reading, is_mean=False).title] += share
    (first, most), *others = shares.items()
    others = [each for each in others if each[1] >= WORTH_A_WORD]
    head = f"{min(most, 0.99):.0%} {source}"
    if ranked[0][1].objective == UNKNOWN and not is_usual:
        head = f"none that is known explains the numbers, {head}"
    elif most <= 0.5:
        head, others = source, [(first, most), *others]
    return f"{head}; {named(others)}" if others else head


def named(shares: Iterable[tuple[str, float]], most: int = MOST_NAMED) -> str:
    """Titles of objectives with their probabilities, likeliest first, so many of them by name."""
    ranked = sorted(shares, key=lambda pair: -pair[1])
    if len(ranked) > most + 1:
        ranked = [*ranked[:most], ("others", sum(share for _, share in ranked[most:]))]
    return ", ".join(f"{title} {share:.0%}" for title, share in ranked)
