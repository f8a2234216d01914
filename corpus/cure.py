"""Do the remedies help? Sick trainings of the corpus are trained again with what is advised.

    python corpus/cure.py                    # goes on where it was interrupted
    python corpus/cure.py --table            # what came of it, from the rows that are there
    python corpus/cure.py --only divergence  # only this finding

For each finding some trainings of the tuning part are trained again with each of its remedies, and
as many of the held-out part with one after the other until it is cured, in the order in which its
diagnosis advises them: that order was chosen by the first alone. A row a training in `cure.jsonl`,
counts in `cures.json`, which the documentation reads. Needs scikit-learn, as `generate.py` does.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).parent))

from cases import Case, cases
from formats import save
from generate import FOLDER, load_manifest, printed_of, shown_rows
from labels import is_good, measure
from loop import Settings, train

from counterpoise.diagnosis.diagnose import RULES, diagnose
from counterpoise.diagnosis.finding import Finding
from counterpoise.diagnosis.remedies import REMEDIES
from counterpoise.logs.read import read_log

ROWS, COUNTS = FOLDER / "cure.jsonl", FOLDER / "cures.json"
FIRST_REMEDIES, MOST_REMEDIES = 3, 5  # that are tried on each
BCE = ("bce-logits", "bce-sigmoid", "bce-saturating")
# What a share, and dB, may fall without being worse: healthy trainings differ by more.
CHANCE = 0.1, 1.0
# The share of the adversarial gradient at G's output that `term-weights` aims at.
ADVERSARIAL_SHARE, MOST_WEIGHINGS = 0.3, 3


class Sick(NamedTuple):
    """A training to be treated for a finding: the manifest's entry, and the remedies that its
    diagnosis advises and that it can be given, in their order."""

    finding: str
    case: Case
    entry: dict
    remedies: list[str]


Change = Mapping[str, object] | None  # of a training's settings; None: cannot be applied to it
Numbers = Mapping[str, float]


def _weighed(s: Settings, measured: Numbers) -> Change:
    if "adversarial_share_late" not in measured:
        return None
    share = min(max(measured["adversarial_share_late"], 1e-4), 1 - 1e-4)  # four digits are kept
    odds = ADVERSARIAL_SHARE / (1 - ADVERSARIAL_SHARE)
    return {"adversarial_weight": s.adversarial_weight * odds * (1 - share) / share}


def _slower(s: Settings, *networks: str, by: float) -> dict[str, object]:
    return {f"{name}_learning_rate": getattr(s, f"{name}_learning_rate") / by for name in networks}


def _if(condition: bool, **changes: object) -> Change:
    return changes if condition else None


UNGATED = {"gate": None, "d_every": 1, "freeze_from": 2.0}
# What each remedy is to a training of the corpus. Those that are not here are not tried.
CHANGES: dict[str, Callable[[Settings, Numbers], Change]] = {
    # The rate is not raised and no image is broken twice: what came from outside does not return.
    "go-back": lambda s, _: {**_slower(s, "g", "d", by=4), "break_by": 1.0},
    "check-batches": lambda s, _: {"nan_at": 2.0},
    "clip-gradients": lambda s, _: {"clip": 1.0},
    "losses-from-logits": lambda s, _: _if(s.objective == "bce-sigmoid", objective="bce-logits"),
    "spectral": lambda s, _: {"spectral": True},
    "r1": lambda s, _: {"r1": 1.0},
    "term-weights": _weighed,
    "raise-adversarial": lambda s, _: {"adversarial_weight": 30 * s.adversarial_weight},
    "lower-adversarial": lambda s, _: {"adversarial_weight": s.adversarial_weight / 30},
    "r1-without-gate": lambda s, _: {**UNGATED, "r1": max(s.r1, 1.0)},
    "train-d-every-step": lambda s, _: UNGATED,
    "check-loop": lambda s, _: {
        "d_every": 1,
        "freeze_from": 2.0,
        "d_learning_rate": max(s.d_learning_rate, 1e-3),
    },
    "lower-d-rate": lambda s, _: _slower(s, "d", by=4),
    "label-smoothing": lambda s, _: _if(s.objective in BCE, label_smoothing=0.1),
    "no-sigmoid": lambda s, _: _if(s.objective == "lsgan-sigmoid", objective="lsgan"),
    "non-saturating": lambda s, _: {"objective": "bce-logits", "r1": 1.0},
    "print-of-one-step": lambda s, _: {},
    "move-threshold": lambda s, _: _if(s.gate is not None, gate=None),
    "d-alone": lambda s, _: _slower(s, "d", by=4),
    "larger-d": lambda s, _: {"d_width": 2 * max(s.d_width, 32)},
    "lower-both-rates": lambda s, _: {**_slower(s, "g", "d", by=4), "beta1": 0.5},
    "larger-batch": lambda s, _: {"batch": 4 * s.batch},
    "augment": lambda s, _: _if(s.task != "ring", augment=True),
    "more-images": lambda s, _: _if(s.train_images > 0, train_images=0),
    "lecam": lambda s, _: {"lecam": 0.1},
    "smaller-d": lambda s, _: {"d_width": max(1, s.d_width // 4)},
    "instance-noise": lambda s, _: {"instance_noise": 0.1},
    "minibatch-deviation": lambda s, _: _if(s.task != "sr", minibatch_deviation=True),
    "relativistic-pairs": lambda s, _: {"objective": "rpgan", "r1": 1.0, "r2": 1.0},
    "same-pipeline": lambda s, _: {"zero_border": False},
}


def quality(measured: Numbers) -> float:
    """How good G's samples are: of super-resolution dB over bicubic, less 3 for each octave that
    its detail is off; else the share of modes times that of good samples."""
    if "psnr_over_bicubic" not in measured:
        value = measured["modes"] / measured["modes_all"] * measured["good_samples"]
    elif measured["detail"] > 0:
        value = measured["psnr_over_bicubic"] - 3 * abs(math.log2(measured["detail"]))
    else:
        value = math.nan
    return round(value, 3) if math.isfinite(value) else -math.inf


def changed(case: Case, remedy: str, measured: Numbers) -> Case | None:
    """The training with a remedy; None where it has no such thing."""
    change = CHANGES[remedy](case.settings, measured) if remedy in CHANGES else None
    if change is None:
        return None
    treated = replace(case, settings=replace(case.settings, **change))
    if remedy == "print-of-one-step":
        return replace(treated, printing="exact")
    is_out = not treated.settings.gate and case.policy is not None
    return replace(treated, policy="none") if is_out else treated


def findings_of(case: Case, path: Path) -> list[Finding]:
    """What is found in a log."""
    return [
        finding
        for trace in read_log(path)
        for finding in diagnose(trace, objective=case.objective_told).findings
    ]


def tried(case: Case, remedy: str, sick: dict) -> dict:
    """Train a case with a remedy: a row."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    treated = changed(case, remedy, sick["measured"]) or case
    run = train(treated.settings, ask_oracle=False)
    # To weigh the terms is to look at their gradients again.
    for _ in range(MOST_WEIGHINGS - 1 if remedy == "term-weights" else 0):
        again = measure(run, shown_rows(treated, run), False)
        if not 0.1 <= again["adversarial_share_late"] <= 0.5:
            treated = changed(treated, remedy, again) or treated
            run = train(treated.settings, ask_oracle=False)
    with tempfile.TemporaryDirectory() as folder:
        name = save(case.format, printed_of(treated, shown_rows(treated, run)), Path(folder), "log")
        found = {f.id: f.severity for f in findings_of(treated, Path(folder) / name)}
    before, after = quality(sick["measured"]), quality(run.truth)
    return {
        "case": case.name,
        "part": case.split,
        "remedy": remedy,
        "found": found,
        "quality_before": before if math.isfinite(before) else None,
        "quality": after if math.isfinite(after) else None,
        "is_worse": not is_good(run.truth) and after < before - CHANCE[case.settings.task == "sr"],
        "seconds": round(time.perf_counter() - started, 1),
    }


def sick_cases(count: int) -> Iterator[Sick]:
    """The trainings that are treated for each finding, so many of each part: as different ones as
    there are."""
    known = {case.name: case for case in cases()}
    names = {id(remedy): name for name, remedy in REMEDIES.items()}
    for finding in RULES:
        for part in ("tuning", "held-out"):
            # One of each cause first, of those whose diagnosis finds it.
            seen: Counter[str] = Counter()
            sick = []
            for name, entry in load_manifest(part).items():
                if finding in entry["expected"]:
                    case = known[name]
                    sick.append((seen[case.cause], len(sick), case, entry))
                    seen[case.cause] += 1
            chosen = 0
            for _, _, case, entry in sorted(sick, key=lambda each: each[:2]):
                found = findings_of(case, FOLDER / part / entry["file"])
                for each in found if chosen < count else ():
                    if each.id == finding:
                        advised = [names[id(remedy)] for remedy in each.remedies]
                        can = [n for n in advised if changed(case, n, entry["measured"])]
                        if can:
                            yield Sick(finding, case, entry, can)
                            chosen += 1


Rows = Mapping[tuple[str, str], dict]


def read_rows() -> Rows:
    """The rows, by training and remedy."""
    lines = ROWS.read_text(encoding="utf-8").splitlines() if ROWS.exists() else []
    return {(row["case"], row["remedy"]): row for row in map(json.loads, lines)}


def is_cured(row: dict, finding: str) -> bool:
    """Whether the treated training has the finding no more, nor anything else that is severe, and
    G's samples are not worse than before."""
    found = row["found"]
    return finding not in found and "severe" not in found.values() and not row["is_worse"]


def missing(rows: Rows, sick: Sequence[Sick]) -> Iterator[tuple[Case, str, dict]]:
    """The trainings that lack: of the tuning part those with the first `FIRST_REMEDIES`; further
    ones, and of the held-out part any, as long as none before has cured it."""
    for finding, case, entry, remedies in sick:
        cured = False
        for place, remedy in enumerate(remedies[:MOST_REMEDIES]):
            waits = case.split == "held-out" or place >= FIRST_REMEDIES
            if waits and cured:
                break
            row = rows.get((case.name, remedy))
            if row is None:
                yield case, remedy, entry
                if waits:
                    break
            cured |= row is not None and is_cured(row, finding)


def counted(rows: Rows, sick: Sequence[Sick]) -> dict[str, dict]:
    """By finding: cures, trials, and trials with better samples of each remedy on the tuning part;
    of the held-out part, which of the remedies, in order, cured each case (0: none)."""
    counts: dict[str, dict] = {}
    for finding, case, _, remedies in sick:
        of = counts.setdefault(finding, {"remedies": {}, "held_out": []})
        done = [(name, rows[case.name, name]) for name in remedies if (case.name, name) in rows]
        if not done:
            continue
        cures = [is_cured(row, finding) for _, row in done]
        if case.split == "held-out":
            of["held_out"].append(cures.index(True) + 1 if True in cures else 0)
            continue
        for (name, row), cured in zip(done, cures, strict=True):
            tries = of["remedies"].setdefault(name, [0, 0, 0])
            gain = (row["quality"] or 0) - (row["quality_before"] or 0)
            tries[0] += cured
            tries[1] += 1
            tries[2] += gain > CHANCE[case.settings.task == "sr"]
    return counts


def table(counts: Mapping[str, dict]) -> str:
    """The counts for a terminal."""
    lines = []
    for finding, of in counts.items():
        tries = ", ".join(f"{name} {a}/{b} ({c})" for name, (a, b, c) in of["remedies"].items())
        lines.append(f"{finding}: {tries}; held out, cured by remedy number {of['held_out']}")
    return "\n".join([*lines, shares(of["held_out"] for of in counts.values())])


def shares(held_out: Iterable[list[int]]) -> str:
    """How many held-out cases the first remedy cured, and one of the first three."""
    each = [place for places in held_out for place in places]
    first, third = each.count(1), sum(0 < place <= 3 for place in each)
    return f"held out: {first} of {len(each)} by the first, {third} by one of the first three"


def main() -> None:
    """Train what lacks, a row each, until nothing does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only findings with this in their name")
    parser.add_argument("--workers", type=int, default=1, help="trainings at a time")
    parser.add_argument("--cases", type=int, default=2, help="of a finding, in each part")
    parser.add_argument("--part", default="", help="only this part of the corpus")
    parser.add_argument("--table", action="store_true", help="train nothing, print the table")
    options = parser.parse_args()
    sick = [
        each
        for each in sick_cases(options.cases)
        if options.only in each.finding and options.part in each.case.split
    ]
    while not options.table:
        wanted = {(each[0].name, each[1]): each for each in missing(read_rows(), sick)}
        if not wanted:
            break
        print(f"{len(wanted)} trainings", flush=True)
        with ProcessPoolExecutor(options.workers) as pool, ROWS.open("a", encoding="utf-8") as file:
            for row in pool.map(tried, *zip(*wanted.values(), strict=True)):
                file.write(json.dumps(row) + "\n")
                file.flush()
                print(row["case"], row["remedy"], row["found"], row["is_worse"], flush=True)
    counts = counted(read_rows(), sick)
    if not options.only and not options.part:
        COUNTS.write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")
    print(table(counts))


if __name__ == "__main__":
    main()
