"""Make the corpus: train, measure, label, print, and write the manifests.

    python corpus/generate.py                 # everything, about half an hour on one core
    python corpus/generate.py --only healthy  # the cases whose name has this in it

Needs scikit-learn (`pip install counterpoise[corpus]`). One thread; on the same machine and
versions the same seeds give the same files. A case whose truth is ambiguous is not written, and
said to be dropped.
"""

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

from cases import Case, cases
from formats import FORMATS, Printed, Row, fields_of, save
from labels import label, measure
from loop import Run, train
from objectives import OBJECTIVES

FOLDER = Path(__file__).parent
# Objectives that a log without D's configuration does not give away: hinge and relativistic
# losses fit too many stories; the others follow from the losses and the printed outputs.
NOT_EVIDENT = ("hinge", "ragan", "bce-saturating")


def shown_rows(case: Case, run: Run) -> list[Row]:
    """The rows as the loop of this case prints them."""
    rows = [dict(row) for row in run.rows[: case.lines]]
    for row in rows:
        if case.printing == "average":
            row["g_loss"], row["d_loss"] = row["g_loss_average"], row["d_loss_average"]
    return rows


def objective_is_known(case: Case) -> bool:
    """Whether a reader of this log can know the objective."""
    form = FORMATS[case.format]
    if case.tell_objective or form.is_run:
        return True
    evident = case.settings.objective not in NOT_EVIDENT
    return evident and ("d_real" in form.fields or "real_logit_mean" in form.fields)


def printed_of(case: Case, rows: list[Row]) -> Printed:
    """What the loop of this case prints, of these rows."""
    return Printed(
        rows=rows,
        steps=case.settings.steps,
        seed=case.settings.seed,
        objective=OBJECTIVES[case.settings.objective].package_name,
        policy=case.policy,
        policy_options=(("threshold", case.settings.gate or 0.0), ("loss_multiplier", 2.0))
        if case.policy == "loss-gate"
        else (),
    )


def make(case: Case, train_case=train) -> dict | None:  # noqa: ANN001
    """Train one case and write its log; its entry in the manifest, or None where it is dropped."""
    form = FORMATS[case.format]
    run = train_case(case.settings)
    rows = shown_rows(case, run)
    numbers = measure(run, rows, form.averages)
    fields = fields_of(form, rows)
    visible = set(fields)
    if objective_is_known(case):
        visible.add("objective")
    if form.is_run:
        visible.add("policy")
    expected, allowed = label(run, numbers, visible, case.policy if form.is_run else None)
    entry = {
        "cause": case.cause,
        "task": case.settings.task,
        "objective": case.settings.objective,
        "objective_told": case.objective_told,
        "format": case.format,
        "printing": case.printing,
        "seed": case.settings.seed,
        "expected": expected,
        "allowed": allowed,
        "fields": sorted(fields),
        "measured": {name: float(f"{value:.4g}") for name, value in numbers.items()},
    }
    if not expected and "healthy" not in allowed:
        return {**entry, "dropped": True}
    printed = printed_of(case, rows)
    entry["file"] = save(case.format, printed, FOLDER / case.split, case.name)
    return entry


def main() -> None:
    """Generate the cases that are asked for, and say what came of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only cases with this in their name")
    wanted = parser.parse_args().only
    torch.set_num_threads(1)
    chosen = [case for case in cases() if wanted in case.name]
    manifests = {split: load_manifest(split) for split in ("tuning", "held-out")}
    if not wanted:
        for split in manifests:
            shutil.rmtree(FOLDER / split, ignore_errors=True)
            manifests[split] = {}
    start = time.perf_counter()
    for number, case in enumerate(chosen, 1):
        began = time.perf_counter()
        entry = make(case)
        report(case, entry, time.perf_counter() - began, f"{number}/{len(chosen)}")
        manifests[case.split].pop(case.name, None)
        if "dropped" not in entry:
            manifests[case.split][case.name] = entry
    for split, manifest in manifests.items():
        save_manifest(split, manifest)
    kept = sum(len(manifest) for manifest in manifests.values())
    print(f"{kept} logs in all; {time.perf_counter() - start:.0f} s")


def report(case: Case, entry: dict, seconds: float, number: str) -> None:
    """One line on what came of a case."""
    what = "DROPPED" if "dropped" in entry else ", ".join(entry["expected"]) or "(nothing)"
    print(
        f"{number} {case.split} {case.name}: {what}; allowed: "
        f"{', '.join(entry['allowed']) or 'nothing'} ({seconds:.1f} s)",
        flush=True,
    )


def load_manifest(split: str) -> dict[str, dict]:
    """The entries of a part, by name."""
    path = FOLDER / split / "manifest.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def save_manifest(split: str, manifest: dict[str, dict]) -> None:
    """Write the entries of a part, in order of their names."""
    path = FOLDER / split / "manifest.json"
    path.parent.mkdir(exist_ok=True)
    lines = [
        f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in sorted(manifest.items())
    ]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
