"""The diagnosis catalogue: a page per finding, from the code's own table and a labelled log."""

import json
from types import FunctionType

from counterpoise.commands.curves import curves
from counterpoise.diagnosis.diagnose import RULES, diagnose
from counterpoise.diagnosis.finding import SEVERITIES, Remedy, Rule
from counterpoise.diagnosis.remedies import REMEDIES
from counterpoise.diagnosis.view import LEAST_ROWS
from counterpoise.diagnosis.wording import WIDTH
from counterpoise.logs.read import read_log
from counterpoise.registry import Registry
from generated import ROOT, Pages
from generated.cures import said
from generated.markdown import (
    capitalised,
    code,
    docstring,
    fence,
    first_sentence,
    table,
    with_links,
)

TUNING = ROOT / "corpus" / "tuning"
QUESTION = ROOT / "tests" / "data" / "seed"
SEVERITY_MEANS = {
    "severe": "training on as it is will not help",
    "warning": "look at it, change something",
    "note": "worth knowing, no fault",
    "healthy": "nothing found, with enough evidence",
}


def pages(rules: Registry[Rule] = RULES) -> Pages:
    """The index, and a page for every finding."""
    examples = _examples()
    made = {"findings/index.md": _index(rules)}
    for rule in rules.values():
        made[f"findings/{rule.id}.md"] = _page(rule, examples.get(rule.id, ""))
    return made


def _index(rules: Registry[Rule]) -> str:
    rows = [(f"[{r.title}]({r.id}.md)", code(r.id), r.needs or "nothing") for r in rules.values()]
    least = rules["d-saturated"].least_rows
    waits = sorted((r.least_steps, r.id) for r in rules.values() if r.least_steps)
    severity_rows = [(code(name), SEVERITY_MEANS[name]) for name in SEVERITIES]
    return "\n\n".join(
        [
            "# Findings",
            "Everything that `counterpoise diagnose`, a training under way and "
            "`Balance.diagnosis()` can say. These pages are made from the table that they speak "
            "from (`counterpoise.diagnosis.diagnose.RULES`), so they say the same.",
            table(("finding", "id", "what a log must have for it"), rows),
            "## How bad",
            table(("severity", "means"), severity_rows),
            f"From {least} lines on it is said what each of them shows, as a note; from "
            f"{LEAST_ROWS} on, what they show together. A NaN is seen in one. In a training that "
            "is recorded step by step, some findings wait, since every young D is at chance and "
            "every game swings at first: "
            + "; ".join(f"{code(name)} for {steps} steps" for steps, name in waits)
            + ".",
            "How often the diagnosis is right is measured on logs of known causes: see "
            "[Diagnose a log](../how-to/diagnose.md#how-often-is-it-right).\n",
        ]
    )


def _page(rule: Rule, example: str) -> str:
    parts = [
        f"# {rule.title}",
        code(rule.id),
        with_links(rule.meaning),
        "## What a log must have",
        capitalised(rule.needs) + "." if rule.needs else "Nothing: it is the verdict of a log.",
    ]
    if isinstance(rule.judge, FunctionType):
        where = f"`{rule.judge.__module__}.{rule.judge.__name__}`"
        how = f"{docstring(rule.judge)}\n\nThe rule, with its thresholds, is {where}."
        parts += ["## What it goes by", how]
    if example:
        parts += ["## How it looks", example]
    parts += ["## What to change, likeliest first" if rule.judge else "## What to do"]
    parts += [_remedy(number, rule, remedy) for number, remedy in enumerate(rule.remedies, 1)] or [
        "Nothing."
    ]
    if rule.source:
        parts += ["## Source", with_links(rule.source) + "."]
    return "\n\n".join(parts) + "\n"


def _remedy(number: int, rule: Rule, remedy: Remedy) -> str:
    heading, more = first_sentence(remedy.text)
    parts = [f"### {number}. {heading}"] + ([more] if more else [])
    if remedy.config:
        policy = remedy.config.removeprefix("balance.policy=")
        more = f" ([what it does](../reference/policies.md#{policy}))"
        linked = more if policy != remedy.config and policy != "none" else ""
        parts += [
            f"In counterpoise's own training{linked}:",
            fence(f"--set {remedy.config}", "sh"),
        ]
    if remedy.code.startswith("--"):
        parts += ["On the command line:", fence(f"counterpoise diagnose LOG {remedy.code}", "sh")]
    elif remedy.code:
        parts += ["In your own loop:", fence(remedy.code, "python")]
    name = next((name for name, each in REMEDIES.items() if each is remedy), "")
    if cures := said(rule.id, name):
        parts.append(f"[Cured sick trainings of the corpus](../reference/cures.md): {cures}.")
    if remedy.source:
        parts.append(f"Source: {with_links(remedy.source)}.")
    return "\n\n".join(parts)


def _examples() -> dict[str, str]:
    """How a log of each finding looks: the question's, else one of the corpus labelled with it.

    Of the corpus' two parts only the one that thresholds were chosen on; nobody reads the other.
    """
    question = sorted(QUESTION.glob("*.log"), key=lambda path: path.stem != "bce_epoch3")
    logs = [(path, "the question's log", set(RULES)) for path in question]
    manifest = json.loads((TUNING / "manifest.json").read_text(encoding="utf-8"))
    of_corpus = "a log of [the corpus](../how-to/diagnose.md#how-often-is-it-right)"
    logs += [
        (TUNING / label["file"], of_corpus, set(label["expected"])) for label in manifest.values()
    ]
    found: dict[str, str] = {}
    for path, cause, expected in logs:
        # A labelled log shows what it is labelled with, and nothing that it may have beside.
        if expected <= set(found):
            continue
        trace = read_log(path)[0]
        looks = "\n".join(said.text for said in curves(trace, None, WIDTH))
        for finding in diagnose(trace).findings:
            if finding.id in expected and finding.id not in found:
                name = path.relative_to(ROOT).as_posix()
                evidence = "\n".join(f"- {item.text}" for item in finding.evidence)
                found[finding.id] = (
                    f"`counterpoise diagnose {name}` ({cause}) finds it, **{finding.severity}**, "
                    f"from step {finding.first_step:,} to {finding.last_step:,}, by this "
                    f"evidence:\n\n{evidence}\n\n{fence(looks, 'text')}"
                )
    return found
