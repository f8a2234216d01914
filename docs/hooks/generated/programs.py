"""The programs whose logs people post, from their table: a page each, with what is normal there."""

import json
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from counterpoise.diagnosis.finding import number
from counterpoise.diagnosis.interpretation import views
from counterpoise.diagnosis.rules_discriminator import CERTAIN
from counterpoise.logs.read import read_log
from counterpoise.objectives import OBJECTIVES, Objective, objective_name
from counterpoise.programs import PROGRAMS, Program
from generated import ROOT, Pages, real_runs
from generated.markdown import code, table

TUNING = ROOT / "corpus" / "tuning"
CORPUS = "[the corpus](../how-to/diagnose.md#how-often-is-it-right)"
# Of the lines of the second halves of healthy runs.
MIDDLE = 0.1, 0.9
OF_CORPUS = {
    "bce-logits": "bce",
    "bce-sigmoid": "bce",
}  # objectives that the corpus calls otherwise
# D's loss and G's, by line, of the healthy runs with an objective, and how many runs those are.
Measured = tuple[np.ndarray, np.ndarray, int]


def pages() -> Pages:
    """A page with a row for each program, and one for each with what is normal there."""
    rows = [
        (
            f"[{program.title}](../programs/{name}.md)",
            code(name),
            ", ".join(OBJECTIVES[each].title for each in program.objectives if each in OBJECTIVES)
            or "not known, or none",
            str(program.discriminators),
            "mean" if program.d_loss_is_mean else "sum",
            "late" if program.d_starts_late else "at once",
        )
        for name, program in PROGRAMS.items()
    ]
    parts = [
        "# Programs",
        "What `counterpoise diagnose` knows of the programs whose logs people post. Where the "
        "layout of a log does not tell which it is of, say it: `--program hifi-gan`. A row is "
        "where the weighing of objectives begins; the numbers of the log have the last word.",
        table(("program", "name", "objectives, likeliest first", "D's", "halves", "D"), rows),
    ]
    measured = _measured()
    made = {"reference/programs.md": "\n\n".join(parts) + "\n"}
    return made | {f"programs/{n}.md": _page(each, measured) for n, each in PROGRAMS.items()}


def _page(program: Program, measured: Mapping[str, Measured]) -> str:
    known = [OBJECTIVES[each] for each in program.objectives if each in OBJECTIVES]
    parts = [f"# {program.title}", program.normal]
    if known:
        heading = ("objective", "D at chance", "D certain", "our runs: D", "G at chance", "G")
        rows = [_row(program, each, measured.get(each.name)) for each in known]
        parts += [
            "## Its losses",
            table(heading, rows),
            f"As {code(program.name)} prints them: {_printed(program)}. Our runs are the small "
            f"healthy trainings of {CORPUS} with that objective: from where to where eight of ten "
            "lines of their second halves lie. A D that stays in the third column for long is "
            "called certain.",
        ]
    parts += real_runs.section(program)
    parts += [
        "## What is normal there",
        "\n".join(f"- {fact}" for fact in _facts(program)),
        f"Read in {program.source}.",
    ]
    return "\n\n".join(parts) + "\n"


def _row(program: Program, objective: Objective, measured: Measured | None) -> tuple[str, ...]:
    times = program.discriminators * (0.5 if program.d_loss_is_mean else program.d_loss_terms / 2)
    times = times if objective.has_halves else program.discriminators
    chance, at = objective.equilibrium_d_loss * times, objective.g_loss_at
    d_range, g_range, g_chance = "not measured", "not measured", "other terms are in it"
    if measured is not None:
        d_loss, g_loss, runs = measured
        d_range = f"{_range(d_loss * times)} ({runs} {'run' if runs == 1 else 'runs'})"
        g_range = _range(g_loss * program.discriminators)
    if program.g_has_more:
        g_range = g_chance
    elif at is None:
        g_chance = "any"
    else:
        half = np.array([objective.equilibrium_d_loss / 2])
        g_chance = number(float(at(half)[0]) * program.discriminators)
    certain = f"under {number(CERTAIN * chance)}" if objective.d_loss_reaches_zero else "not told"
    return objective.title, number(chance), certain, d_range, g_chance, g_range


def _printed(program: Program) -> str:
    what = "the mean of D's two halves" if program.d_loss_is_mean else "the sum of D's two halves"
    if program.d_loss_terms != 2:
        what = f"the sum of D's {program.d_loss_terms} terms"
    if program.discriminators > 1:
        what += f", summed over {program.discriminators} discriminators"
    return what


def _facts(program: Program) -> list[str]:
    late = "D starts late: G goes ahead alone, and D's loss is 0 until then."
    chance = "D near chance all along is how a good training looks: it is said as a note."
    batches = "The lead swings from line to line: it is said as a note."
    more = "G's printed loss has other terms or a weight in it: it is not held against D's."
    unfit = ", ".join(program.unfit)
    by_lines = "its lines, or its names, tell which program it is"
    return [
        late if program.d_starts_late else "D is trained from the first step on.",
        *([chance] if program.chance_is_normal else []),
        *([batches] if program.swings_are_normal else []),
        *([more] if program.g_has_more else []),
        *([f"Not advised, for it has that already or no use for it: {unfit}."] if unfit else []),
        f"How a log of it is known: {by_lines if program.sign else 'by its layout'}; else say "
        f"{code(f'--program {program.name}')}.",
        *([f"{program.advice}."] if program.advice else []),
    ]


def _range(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    if not len(known):
        return "not measured"
    low, high = (round(float(each), 2) for each in np.quantile(known, MIDDLE))
    return f"{number(low)} to {number(high)}"


def _measured() -> dict[str, Measured]:
    """The losses of one D, and G's beside them, of the corpus' healthy runs by objective.

    Of the corpus' two parts only the one that thresholds were chosen on; nobody reads the other.
    """
    manifest = json.loads((TUNING / "manifest.json").read_text(encoding="utf-8"))
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
    for label in manifest.values():
        if label["expected"] != ["healthy"]:
            continue
        name = objective_name(OF_CORPUS.get(label["objective"], label["objective"]))
        (trace,) = read_log(TUNING / label["file"], objective=name)
        view, late = views(trace, given="the corpus")[0], len(trace) // 2
        # Beside a content term G's is weighted.
        g_loss = np.full(len(trace), np.nan) if trace.has("g_content") else view.g_adversarial
        found[name].append((view.d_loss[late:], g_loss[late:]))
    return {
        name: (*map(np.concatenate, zip(*runs, strict=True)), len(runs))
        for name, runs in found.items()
    }
