"""What became of the corpus' sick trainings under each remedy, from `corpus/cure.py`'s counts."""

import json

from counterpoise.diagnosis.diagnose import RULES
from counterpoise.diagnosis.remedies import REMEDIES
from generated import ROOT, Pages
from generated.markdown import code, table

COUNTS = json.loads((ROOT / "corpus" / "cures.json").read_text(encoding="utf-8"))
HOW = """\
Sick trainings of the corpus were trained again, each with one remedy that its diagnosis advises
and nothing else changed. One is **cured** where the finding is gone, nothing else is severe, and
G's samples are not worse than before, by the training's own measure. The order of advice follows
the trainings of the tuning part (left); those of the held-out part (right) were then given one
remedy after the other, in that order, until one cured them. They are few, and small.
`python corpus/cure.py` does it again."""
NOT_TRIED = """\
Not tried, because no training of the corpus can be given it, or because it is not a change of the
training: """


def pages() -> Pages:
    """The table of cures."""
    rows = [
        (
            f"[{RULES[finding].title}](../findings/{finding}.md)",
            "; ".join(f"{code(name)} {said(finding, name)}" for name in of["remedies"]),
            _held_out(of["held_out"]),
        )
        for finding, of in COUNTS.items()
    ]
    tried = {name for of in COUNTS.values() for name in of["remedies"]}
    advised = {remedy for rule in RULES.values() if rule.judge for remedy in rule.remedies}
    others = [code(n) for n, remedy in REMEDIES.items() if remedy in advised and n not in tried]
    every = [place for of in COUNTS.values() for place in of["held_out"]]
    text = "\n\n".join(
        [
            "# Do the remedies help?",
            HOW,
            table(("finding", "remedies: cured of tried", "held out"), rows),
            f"Held out, all together: {_held_out(every)}.",
            NOT_TRIED + ", ".join(others) + ".",
        ]
    )
    return {"reference/cures.md": text + "\n"}


def said(finding: str, remedy: str) -> str:
    """ "2 of 3, better samples in 1", or "" where it was not tried."""
    of = COUNTS.get(finding, {"remedies": {}})["remedies"]
    cures, tries, better = of.get(remedy, (0, 0, 0))
    return f"{cures} of {tries}, better samples in {better}" if tries else ""


def _held_out(places: list[int]) -> str:
    if not places:
        return "none"
    first, third = places.count(1), sum(0 < place <= 3 for place in places)
    return f"{first} of {len(places)} by the first, {third} by one of the first three"
