"""The corpus in the tree is whole: labels are known ids, parts are disjoint, every log reads."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

from counterpoise.logs.read import read_log

FOLDER = Path(__file__).parent.parent / "corpus"
SPLITS = ("tuning", "held-out")
MANIFESTS = {
    split: json.loads((FOLDER / split / "manifest.json").read_text(encoding="utf-8"))
    for split in SPLITS
}
ENTRIES = [entry for manifest in MANIFESTS.values() for entry in manifest.values()]
IDS = {
    *("d-saturated", "d-frozen", "g-vanishing-gradient", "d-too-weak", "oscillation"),
    *("mode-collapse", "d-memorises", "divergence", "non-finite", "lsgan-on-sigmoid"),
    *("adversarial-term-drowned", "content-term-drowned", "loss-inconsistent", "d-restarts"),
    *("trivially-separable", "inert-rule", "healthy", "not-enough-evidence"),
}


@pytest.fixture(scope="module")
def labels():
    """The rules of `corpus/labels.py`, which imports its neighbours by their bare names."""
    sys.path.insert(0, str(FOLDER))
    before = set(sys.modules)
    try:
        specification = importlib.util.spec_from_file_location(
            "corpus_labels", FOLDER / "labels.py"
        )
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(FOLDER))
        for name in set(sys.modules) - before:
            if str(FOLDER) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]


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


def test_the_folders_have_the_files_of_the_manifests_and_no_others():
    for split, manifest in MANIFESTS.items():
        files = {path.name for path in (FOLDER / split).iterdir()}
        assert files == {entry["file"] for entry in manifest.values()} | {"manifest.json"}


def test_the_corpus_is_small():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 3_000_000


@pytest.mark.parametrize("split", SPLITS)
def test_every_log_reads_as_one_run_with_all_its_lines_and_fields(split):
    for name, entry in MANIFESTS[split].items():
        traces = read_log(FOLDER / split / entry["file"])
        assert len(traces) == 1, name
        assert traces[0].rows_read == entry["measured"]["lines"], name


def test_labels_do_not_look_at_the_code_that_they_test():
    for path in FOLDER.glob("*.py"):
        imports = re.findall(r"^\s*(?:from|import) (counterpoise\S*)", path.read_text(), re.M)
        assert path.name == "score.py" or set(imports) <= {"counterpoise.records"}


def test_jensen_violations_are_counted_line_by_line(labels):
    honest = {
        "d_real": 0.5,
        "d_fake_before": 0.5,
        "d_fake_after": 0.5,
        "d_loss": 1.4,
        "g_loss": 0.7,
    }
    impossible = {**honest, "d_loss": 1.2}
    assert labels.violations([honest] * 3, "bce-sigmoid", averages=False) == 0
    assert labels.violations([honest, impossible], "bce-logits", averages=False) == 0.5
    # Only cross-entropy has this bound, and only on the batch that the outputs are printed of.
    assert labels.violations([impossible], "lsgan", averages=False) == 0
    assert labels.violations([impossible], "bce-logits", averages=True) == 0


def test_swings_count_crossings_of_most_of_the_range(labels):
    wave = labels.np.sin(labels.np.arange(600) * 2 * labels.np.pi / 100)
    span, crossings = labels._swings(wave)
    assert span == pytest.approx(1.9, abs=0.05)
    assert crossings == 11  # six periods, and the first half of one crosses nothing
    assert labels._swings(labels.np.linspace(0, 1, 500))[1] == 1
