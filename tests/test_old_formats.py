"""What earlier versions wrote still opens: a run, its checkpoint, the state of a `Balance`.

`data/old-run` is a training of version 0.1.0 that was stopped at step 6 of 8, and what it recorded
when it was not; `data/old-balance` is a loop's folder and state after six turns.
"""

import json
import shutil
from pathlib import Path

import pytest

from counterpoise.config_file import load_config
from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.json_lines import read_json_lines
from counterpoise.logs.read import read_log
from counterpoise.training.checks import check_training
from loop_helpers import Loop
from training_helpers import run, signals, without_showing

DATA = Path(__file__).parent / "data"
OLD_RUN, OLD_BALANCE = DATA / "old-run", DATA / "old-balance"


@pytest.mark.parametrize("folder", [OLD_RUN, OLD_BALANCE])
def test_an_old_run_is_read(folder):
    (trace,) = read_log(folder)
    assert len(trace) == len([row for row in read_json_lines(folder / "signals.jsonl")[0]
                              if "d_loss" in row])  # fmt: skip
    assert trace.policy == "auto"
    assert diagnose(trace).objective == "non-saturating"


def test_an_old_checkpoint_is_resumed(tmp_path, monkeypatch):
    path = tmp_path / "run"
    shutil.copytree(OLD_RUN, path)
    without_showing(monkeypatch)
    config = load_config(str(path / "config.yaml"), [], checks=(check_training,))
    outcome = run(config, path, resume=True)
    assert (outcome.first_step, outcome.step) == (6, 8)
    expected, _ = read_json_lines(DATA / "old-run-rows-7-8.jsonl")
    for row, old in zip(signals(path)[6:], expected, strict=True):
        assert old.keys() <= row.keys()
        # `auto` asks for other things now, so what comes after its first action is nearly the same.
        near = 1e-3 if row["step"] == 7 else 2e-2
        for name in ("g_loss", "d_loss", "d_real", "d_fake_before"):
            assert row[name] == pytest.approx(old[name], rel=near), (row["step"], name)


def test_an_old_state_of_balance_is_taken_up(tmp_path):
    path = tmp_path / "run"
    shutil.copytree(OLD_BALANCE, path)
    loop = Loop()
    state = json.loads((OLD_BALANCE / "state.json").read_text(encoding="utf-8"))
    with loop.balance("auto", run_dir=path) as balance:
        balance.load_state_dict(state)
        assert balance.step == 6
        loop.run(balance, 2)
    assert [row["step"] for row in signals(path)] == list(range(1, 9))
