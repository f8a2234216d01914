"""The loops in the shape of public trainers, with the lines to add (`# +`) and without."""

from pathlib import Path

import pytest
import torch

from counterpoise.anyloop.handle import Balance
from loop_helpers import rows_of, same

FOLDER = Path(__file__).parent.parent / "examples" / "trainers"
ADDED = "# +"
TURNS = 14
# True of the trainer itself.
FINDINGS = {"ctgan": {"fake-not-detached"}}
TRAINERS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "parts")


def trained(name, *, added):
    """The networks after some turns, of the file with its added lines or without."""
    path = FOLDER / f"{name}.py"
    lines = path.read_text("utf-8").splitlines(keepends=True)
    text = "".join(line if added or ADDED not in line else "\n" for line in lines)
    space = {"__name__": name}
    exec(compile(text, str(path), "exec"), space)  # noqa: S102
    torch.manual_seed(0)
    return space["train"](TURNS)


@pytest.mark.parametrize("name", TRAINERS)
def test_the_added_lines_measure_and_change_nothing(tmp_path, monkeypatch, name):
    monkeypatch.syspath_prepend(FOLDER)
    bare = trained(name, added=False)
    balances = []

    def watched(*networks, policy, **options):
        assert policy == "auto"
        balances.append(
            Balance(*networks, policy="none", check=True, run_dir=tmp_path / "run", **options)
        )
        return balances[0]

    monkeypatch.setattr("counterpoise.Balance", watched)
    networks = trained(name, added=True)
    (balance,) = balances
    balance.close()
    for before, after in zip(bare, networks, strict=True):
        assert same(list(before.state_dict().values()), list(after.state_dict().values()))
    found = {finding.id for finding in balance.loop_findings}
    assert found == FINDINGS.get(name, set())
    rows = rows_of(tmp_path / "run")
    # A turn begins with D's part, and ends with the step of G's optimizer.
    steps = TURNS // 2 if name == "trainner_redux" else TURNS
    late = 5 if name == "taming" else 0
    assert len(rows) >= steps - 1
    for row in rows[late + 1 :]:
        ds = row["discriminators"].values() if "discriminators" in row else [row]
        assert all(d["auc"] is not None and d["d_updated"] for d in ds)
        assert all(d.get("d_fake_after") is not None for d in ds)


@pytest.mark.parametrize("name", TRAINERS)
def test_auto_can_do_all_that_it_asks_for(monkeypatch, caplog, name):
    monkeypatch.syspath_prepend(FOLDER)
    trained(name, added=True)
    assert not caplog.records
