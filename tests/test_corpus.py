"""The corpus in the tree is whole: labels are known ids, parts are disjoint, every log reads."""

import importlib
import json
import re
from pathlib import Path

import pytest

from counterpoise.diagnosis.diagnose import RULES
from counterpoise.diagnosis.remedies import REMEDIES
from counterpoise.logs.read import read_log
from helpers import scripts_of

FOLDER = Path(__file__).parent.parent / "corpus"
SPLITS = ("tuning", "held-out")
MANIFESTS = {
    split: json.loads((FOLDER / split / "manifest.json").read_text(encoding="utf-8"))
    for split in SPLITS
}
ENTRIES = [entry for manifest in MANIFESTS.values() for entry in manifest.values()]
# All but those that only a run folder of ours shows, with its held-out metrics and its policy, and
# those that no training of the corpus has.
IDS = set(RULES) - {"quality-falls", "held-back", "g-frozen", "learning-rate-gone"}


def test_there_are_enough_logs_of_every_kind():
    assert len(ENTRIES) >= 64
    assert sum(entry["expected"] == ["healthy"] for entry in ENTRIES) >= 20
    assert len({entry["format"] for entry in ENTRIES}) >= 10
    for manifest in MANIFESTS.values():
        assert len(manifest) >= 0.4 * len(ENTRIES)
        assert {i for entry in manifest.values() for i in entry["expected"]} == IDS


def test_labels_are_known_ids_and_never_both_expected_and_allowed():
    for entry in ENTRIES:
        assert set(entry["expected"]) | set(entry["allowed"]) <= IDS
        assert not set(entry["expected"]) & set(entry["allowed"])
        assert "healthy" not in entry["expected"] or entry["expected"] == ["healthy"]


def test_parts_share_no_seed_and_the_held_out_one_has_pairings_of_its_own():
    tuning, held_out = (list(MANIFESTS[split].values()) for split in SPLITS)
    assert not {e["seed"] for e in tuning} & {e["seed"] for e in held_out}
    pairings = [{(e["objective"], e["format"]) for e in part} for part in (tuning, held_out)]
    assert len(pairings[1] - pairings[0]) >= 10


@pytest.mark.parametrize("split", SPLITS)
def test_every_log_reads_as_one_run_with_all_its_lines_and_fields(split):
    for name, entry in MANIFESTS[split].items():
        traces = read_log(FOLDER / split / entry["file"])
        assert len(traces) == 1, name
        assert traces[0].rows_read == entry["measured"]["lines"], name


def test_what_is_advised_first_is_what_cured_most():
    rows = map(json.loads, (FOLDER / "cure.jsonl").read_text(encoding="utf-8").splitlines())
    known = {name for manifest in MANIFESTS.values() for name in manifest}
    assert {row["case"] for row in rows} <= known
    for finding, of in json.loads((FOLDER / "cures.json").read_text(encoding="utf-8")).items():
        cured = {REMEDIES[name]: counts for name, counts in of["remedies"].items()}
        first, *others = (cured[each] for each in RULES[finding].remedies if each in cured)
        assert all(first[0] * other[1] >= other[0] * first[1] for other in others), finding


def test_labels_do_not_look_at_the_code_that_they_test():
    for path in FOLDER.glob("*.py"):
        imports = re.findall(r"^\s*(?:from|import) (counterpoise\S*)", path.read_text(), re.M)
        assert path.name in ("score.py", "cure.py") or set(imports) <= {"counterpoise.records"}


def test_jensen_violations_are_counted_line_by_line():
    with scripts_of(FOLDER):
        labels = importlib.import_module("labels")
    outputs = dict.fromkeys(("d_real", "d_fake_before", "d_fake_after"), 0.5)
    honest = outputs | {"d_loss": 1.4, "g_loss": 0.7}
    impossible = {**honest, "d_loss": 1.2}
    assert labels.violations([honest] * 3, "bce-sigmoid", averages=False) == 0
    assert labels.violations([honest, impossible], "bce-logits", averages=False) == 0.5
    # Only cross-entropy has this bound, and only on the batch that the outputs are printed of.
    assert labels.violations([impossible], "lsgan", averages=False) == 0
    assert labels.violations([impossible], "bce-logits", averages=True) == 0
