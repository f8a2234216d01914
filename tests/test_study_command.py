"""`counterpoise study` as a user meets it."""

import io
import shlex
import signal

import pytest
import yaml
from rich.console import Console

from counterpoise.commands import study as command
from counterpoise.study.plan import StudyPlan, cells_of, load_plan
from counterpoise.study.play import play_cell
from helpers import one_line
from study_helpers import PLAN, InThisProcess, play, play_and_raise, rows_in


@pytest.fixture
def plan_file(tmp_path):
    path = tmp_path / "my plan.yaml"
    path.write_text(PLAN.to_yaml())
    return path


@pytest.fixture
def playing(monkeypatch):
    """Have the command play cells with another function, in this process."""
    monkeypatch.setattr(command, "local_workers", InThisProcess)

    def use(play_function):
        monkeypatch.setattr(command, "play_cell", play_function)

    use(play)
    return use


@pytest.mark.usefixtures("playing")
def test_a_study_says_how_far_it_is_and_what_comes_next(counterpoise, plan_file, tmp_path):
    folder = tmp_path / "my study"
    code, out, err = counterpoise("study", "run", "--plan", plan_file, "--out", folder)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "0 of 16 cells, 0 failed trainings, 0 errors"
    assert "16 of 16 cells, 0 failed trainings, 0 errors" in lines
    assert lines[-1] == f"next: counterpoise study report '{folder}'"
    assert load_plan(folder / "study.yaml") == PLAN
    code, out, _ = counterpoise("study", "run", "--plan", plan_file, "--out", folder)
    assert (code, out.splitlines()[0]) == (0, "16 of 16 cells, 0 failed trainings, 0 errors")
    assert len((folder / "results.jsonl").read_text().splitlines()) == 16


def test_errors_are_said_and_make_the_exit_code_1(counterpoise, playing, plan_file, tmp_path):
    playing(play_and_raise)
    arguments = ["study", "run", "--plan", plan_file, "--out", tmp_path / "out", "--workers", 3]
    code, out, err = counterpoise(*arguments)
    assert (code, err) == (1, "")
    assert "16 of 16 cells, 0 failed trainings, 8 errors" in out
    shown = [line for line in out.splitlines() if line.startswith("error in ")]
    assert all("/auto/" in line and "this cell has a bug (study_helpers" in line for line in shown)
    assert shown
    again = shlex.join(["counterpoise", *map(str, arguments)])
    assert f"cells that ended in errors: 8; to try them again: {again}" in out
    playing(play)
    code, out, _ = counterpoise(*arguments)
    assert code == 0
    assert "error in" not in out


@pytest.mark.usefixtures("playing")
@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_has_a_bar_and_a_file_a_line_now_and_then(monkeypatch, tmp_path, terminal):
    plan = PLAN.model_copy(update={"seeds": tuple(range(50))})
    monkeypatch.setattr(command, "load_plan", lambda source, overrides: plan)
    file = io.StringIO()
    environment = {"TERM": "xterm"}
    console = Console(file=file, width=100, force_terminal=terminal, _environ=environment)
    monkeypatch.setattr("rich._console", console)
    assert command.run("x", [], tmp_path, 1, "local", None, [], False) == 0
    text = file.getvalue()
    lines = [line for line in text.splitlines() if " of 400 cells" in line]
    assert len(lines) == (0 if terminal else 21)
    assert ("ETA" in text) == ("400/400" in text) == terminal


@pytest.mark.usefixtures("playing")
def test_a_dry_run_writes_nothing_and_knows_what_is_done(counterpoise, plan_file, tmp_path):
    folder = tmp_path / "out"
    options = ["--out", folder, "--set", "seeds=[5]", "--workers", 2]
    code, out, err = counterpoise("study", "run", *options, "--dry-run")
    assert (code, err) == (0, "")
    assert not folder.exists()
    plan = load_plan("quick", ["seeds=[5]"])
    assert yaml.safe_load(out.partition("\n\n")[0]) == plan.model_dump(mode="json")
    assert f"{len(cells_of(plan))} cells, 0 of them done in {folder}" in out
    assert "executor: local, workers: 2" in out
    options = ["--plan", plan_file, "--out", folder]
    assert counterpoise("study", "run", *options, "--only", "ring/*")[0] == 0
    code, out, _ = counterpoise("study", "run", *options, "--dry-run")
    assert "16 cells, 8 of them done" in out
    other = counterpoise("study", "run", *options, "--set", "seeds=[9]", "--dry-run")
    one_line(other, "another plan (other seeds)")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--executor", "slurm"], "--executor: invalid choice: 'slurm' (choose from"),
        (["--address", "a:1"], "--address is for --executor ray"),
    ],
)
def test_a_mistake_is_one_line(counterpoise, monkeypatch, tmp_path, options, words):
    monkeypatch.chdir(tmp_path)
    one_line(counterpoise("study", "run", *options), words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("playing")
def test_a_report_prints_its_table_and_where_it_lies(counterpoise, plan_file, tmp_path):
    folder = tmp_path / "out"
    one_line(counterpoise("study", "report", folder))
    counterpoise("study", "run", "--plan", plan_file, "--out", folder)
    code, out, err = counterpoise("study", "report", folder)
    assert (code, err) == (0, "")
    assert str(folder / "report.md") in out
    assert (folder / "report.md").exists()
    assert any("|" in line and "auto" in line for line in out.splitlines())


@pytest.mark.usefixtures("playing")
def test_folders_of_data_are_found_from_anywhere(counterpoise, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    code, _, _ = counterpoise(
        "study", "run", "--set", "data_folders=[photos]", "--only", "ring/none/*/0"
    )
    assert code == 0
    plan = load_plan(tmp_path / "runs" / "study-quick" / "study.yaml")
    assert plan.data_folders == (tmp_path / "photos",)
    assert signal.getsignal(signal.SIGTERM) is before


def test_real_cells_in_workers_are_those_of_this_process(counterpoise, tmp_path):
    plan = StudyPlan(
        name="real",
        tasks=("ring",),
        stressors=("late-shock",),
        strategies=("auto",),
        seeds=(3,),
        steps_scale=0.02,
    )
    (tmp_path / "real.yaml").write_text(plan.to_yaml())
    folder = tmp_path / "out"
    code, out, err = counterpoise("study", "run", "--plan", tmp_path / "real.yaml", "--out", folder)
    assert (code, err) == (0, ""), out
    (row,) = rows_in(folder).values()
    expected = play_cell(cells_of(plan)[0], plan).model_dump(mode="json")
    assert row.pop("seconds") > 0
    assert row == {key: value for key, value in expected.items() if key != "seconds"}


def test_an_executor_that_is_chosen_has_the_options(counterpoise, monkeypatch, tmp_path):
    made = []
    monkeypatch.setattr(command, "play_cell", play)
    monkeypatch.setattr(
        command, "ray_workers", lambda *given: made.append(given[2:]) or InThisProcess(*given[:2])
    )
    options = ["--executor", "ray", "--address", "head:6379", "--workers", 3]
    only = ["--out", tmp_path / "out", "--only", "ring/none/none/0"]
    assert counterpoise("study", "run", *only, *options)[0] == 0
    assert made == [(3, "head:6379")]
