"""`train --stop auto` in the loop: clean stop, event, resume. The rule itself: test_outlook."""

import pytest

from counterpoise.json_lines import read_json_lines
from counterpoise.run_folder import STOPPED_EARLY, RunFolder
from counterpoise.training import held_out
from helpers import write_images
from training_helpers import events, run, signals, tiny, without_time

EVERY = "train={pretrain_steps: 2, steps: 8, sample_every: 1, log_every: 4, checkpoint_every: 100}"


@pytest.fixture(scope="module")
def tiny_auto(tmp_path_factory):
    photos = tmp_path_factory.mktemp("photos")
    write_images(photos, 3)
    given = (EVERY, "train.batch_size=2", "data.held_out_images=1", "train.stop=auto")
    return lambda *overrides: tiny(*given, *overrides, data=photos)


@pytest.fixture
def after_four(monkeypatch):
    """A rule that stops after four evaluations of the last stage."""
    monkeypatch.setattr(
        held_out,
        "stop_reason",
        lambda rows, planned_steps: "four are enough" if len(rows) >= 4 else None,
    )


def test_it_stops_saves_says_why_and_may_go_on_as_if_it_had_not(tmp_path, tiny_auto, after_four):
    assert tiny().train.stop == "never"
    path = tmp_path / "stopped"
    outcome = run(tiny_auto(), path)
    assert (outcome.step, outcome.stopped_early) == (6, "four are enough")
    assert not outcome.interrupted
    assert RunFolder(path).checkpoint(6).is_file()
    assert events(path, STOPPED_EARLY) == ["stopped early at step 6 because four are enough"]
    again = run(tiny_auto(), path, resume=True)
    assert (again.first_step, again.step, again.stopped_early) == (6, 6, "four are enough")

    outcome = run(tiny_auto("train.stop=never"), path, resume=True)
    assert (outcome.first_step, outcome.step, outcome.stopped_early) == (6, 10, "")
    run(tiny_auto("train.stop=never"), tmp_path / "whole")
    assert without_time(signals(path)) == without_time(signals(tmp_path / "whole"))
    metrics = [read_json_lines(RunFolder(tmp_path / n).metrics)[0] for n in ("stopped", "whole")]
    assert metrics[0] == metrics[1]


def test_the_rule_sees_the_rows_of_the_last_stage_also_after_a_resume(
    tmp_path, tiny_auto, monkeypatch
):
    seen = []
    monkeypatch.setattr(
        held_out, "stop_reason", lambda rows, _: seen.append([r["step"] for r in rows])
    )
    run(tiny_auto("train.steps=3"), tmp_path / "run")
    assert seen[-1] == [3, 4]  # after the last step there is nothing to stop
    run(tiny_auto("train.steps=5"), tmp_path / "run", resume=True)
    assert seen[-1] == [3, 4, 5, 6]


def test_the_command_line(counterpoise, tmp_path, tiny_auto, after_four):
    config = tmp_path / "tiny.yaml"
    config.write_text(tiny_auto("train.stop=never").to_yaml())
    run_dir = tmp_path / "run"
    code, out, _ = counterpoise("train", "--config", config, "--run-dir", run_dir, "--stop", "auto")
    assert code == 0
    assert "stopped early at step 6 because four are enough" in out
    assert f"counterpoise resume {run_dir} --stop never" in out
    code, out, _ = counterpoise("resume", run_dir)
    assert code == 0
    assert "stopped early because four are enough" in out
    assert counterpoise("resume", run_dir, "--stop", "never")[0] == 0
    assert RunFolder(run_dir).checkpoint(10).is_file()
    code, _, err = counterpoise("train", "--config", config, "--stop", "soon")
    assert code == 2
    assert "train.stop" in err
