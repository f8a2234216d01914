"""`counterpoise diagnose` as its user meets it."""

import dataclasses
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

import counterpoise as cp
from counterpoise.diagnosis.finding import (
    Candidate,
    Diagnosis,
    Evidence,
    Finding,
    NotJudged,
    Remedy,
)
from counterpoise.diagnosis.remedies import REMEDIES
from counterpoise.errors import UserError
from helpers import one_line

SEED = Path(__file__).parent / "data" / "seed"
SCHEMA = Path(__file__).parents[1] / "docs" / "diagnosis.schema.json"
LOGS = [str(SEED / f"{name}.log") for name in ("bce_epoch1", "bce_epoch3", "mse_epoch1")]
HEALTHY = "\n".join(
    f"[0/5][{50 * n}/1583]\tLoss_D: {1.05 + 0.01 * (n % 5):.4f}\tLoss_G: 1.3\tD(x): "
    f"{0.62 + 0.01 * (n % 4):.4f}\tD(G(z)): {0.36 + 0.01 * (n % 3):.4f} / 0.3{n % 7}21"
    for n in range(20)
)


@pytest.fixture
def diagnose(counterpoise, monkeypatch):
    """Run `counterpoise diagnose`: (exit code, output, errors)."""

    def run(*arguments, stdin=""):
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        return counterpoise("diagnose", *arguments)

    return run


# A D that is certain all along, for short.
CERTAIN = "".join(f"step {n} d_loss: 0.00{n % 7 + 1} g_loss: 7.{n}\n" for n in range(30))
# Nobody says what these losses are.
UNCLEAR = "".join(f"step {n} d_loss: 0.{31 + n % 3} g_loss: 1.{n % 4}\n" for n in range(4))


def test_the_questions_logs_are_explained(diagnose):
    code, out, _ = diagnose(*LOGS)
    assert code == 1
    assert out.count("Not healthy") == 2 * 3  # in short, and above what is said of each
    for finding in ("d-frozen", "d-restarts", "d-saturated", "lsgan-on-sigmoid"):
        assert f"[{finding}]" in out
    assert out.count("What to do first: ") == out.count("checks could not be made") == 3
    assert "2. " not in out
    _, whole, _ = diagnose(LOGS[1], "--all")
    assert whole.index("2. ") < whole.index("Checks that could not be made")
    assert all(finding.meaning[:40] in whole for finding in cp.diagnose(LOGS[1]).problems)


def test_what_a_file_ends_with_is_answered_first_and_earlier_starts_in_a_line(diagnose, tmp_path):
    path = tmp_path / "starts.log"
    path.write_text(CERTAIN + CERTAIN[: len(CERTAIN) // 2] + CERTAIN)
    _, out, _ = diagnose(str(path))
    assert out.index("run 3 of 3") < out.index("run 1 of 3")
    assert out.count("What to do first: ") == 1


def test_a_line_of_a_restart_is_said_and_the_training_before_it_leads(diagnose, tmp_path):
    swing = 1.0, 0.8, 1.2, 0.9
    line = "step {} D_loss: {} G_loss: {}\n".format
    lines = [line(10 * n, swing[n % 4], 2 - swing[n % 4]) for n in range(12)]
    (tmp_path / "log").write_text("".join([*lines, line(0, 1.39, 0.7)]))
    code, text = diagnose(str(tmp_path / "log"))[:2]
    assert code == 0
    assert text.startswith("run 1 of 2: Healthy")
    assert "has 1 line" in text
    (tmp_path / "twice").write_text("".join(lines * 2))
    _, both, _ = diagnose(str(tmp_path / "log"), str(tmp_path / "twice"))
    assert both.count("What to do first: ") == 2


def test_steps_that_are_a_guess_are_about(diagnose):
    lines = (f"epoch {n // 9} iter {n % 9} d_loss: 0.01 g_loss: 7.{n % 7}\n" for n in range(99))
    _, out, _ = diagnose("-", stdin="".join(lines))
    assert out.count("steps about 0 to about 98") == 2


def test_json_follows_the_schema(diagnose, monkeypatch):
    # What it would check the form of addresses with takes seconds to import, and we have none.
    monkeypatch.setitem(sys.modules, "rfc3987_syntax", None)
    import jsonschema

    code, out, _err = diagnose(*LOGS, "--json")
    assert code == 1
    rows = [json.loads(line) for line in out.splitlines()]
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    for row in rows:
        jsonschema.validate(row, schema)
    for part in (Diagnosis, Finding, Evidence, Remedy, Candidate, NotJudged):
        known = schema if part is Diagnosis else schema["$defs"][part.__name__]
        assert {f.name for f in dataclasses.fields(part)} <= set(known["properties"])
    assert [len(row["findings"]) for row in rows] == [3, 3, 4]
    assert [*rows[0]][:4] == ["answer", "findings", "do_first", "not_judged"]
    wanted = {"id", "severity", "first_step", "last_step", "confidence", "evidence", "meaning"}
    assert wanted | {"remedies"} <= set(rows[0]["findings"][0])


def test_several_logs_are_compared_on_their_page(diagnose, tmp_path):
    page = tmp_path / "page.html"
    code, out, _ = diagnose(*LOGS, "--html", page)
    assert code == 1
    assert out.splitlines()[-1] == f"page: {page}"
    assert "3 runs compared" in page.read_text(encoding="utf-8")
    (tmp_path / "bce_epoch1.log").write_text(HEALTHY)
    diagnose(LOGS[0], tmp_path / "bce_epoch1.log", "--html", page)
    assert f'"name":"{tmp_path}/bce_epoch1.log"' in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("log", "code", "says"),
    [(HEALTHY, 0, "Healthy"), (UNCLEAR, 3, "cannot say"), (CERTAIN, 1, "D is too strong")],
)
def test_a_pipe_is_judged(diagnose, log, code, says):
    exit_code, out, _err = diagnose("-", stdin=log)
    assert exit_code == code, out
    assert says in out


def test_a_mean_of_halves_can_be_said(diagnose):
    log = "".join(
        f"step {step} d_loss: 0.69{step % 4} g_loss: 1.2{step % 3}\n" for step in range(20)
    )
    options = ("-", "--objective", "bce", "--json")
    assert '"d-too-weak"' in diagnose(*options, "--d-loss-is-mean", stdin=log)[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], ""),
        ([LOGS[0], "--objective", "hing"], "unknown objective"),
        ([LOGS[0], "--format", "xml"], "unknown format 'xml'; known: json"),
        ([LOGS[0], "--map", "d_loss"], "THEIR_COLUMN=OUR_COLUMN"),
        ([LOGS[0], "--map", "=d_loss"], "THEIR_COLUMN=OUR_COLUMN"),
        ([""], "an empty path"),
        (["-"], "empty"),
        ([LOGS[0], "nothing.log"], "nothing.log"),
        ([str(Path(__file__).parents[1] / "LICENSE")], "no losses"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_the_others_are_judged(diagnose, arguments, says):
    result = diagnose(*arguments)
    one_line(result, says)
    assert ("[d-frozen]" in result[1]) == ("nothing.log" in arguments)


def test_of_several_the_worst_is_the_exit_code(diagnose, tmp_path):
    for name, log in (("healthy", HEALTHY), ("unclear", UNCLEAR)):
        (tmp_path / name).write_text(log)
    unclear, healthy = tmp_path / "unclear", tmp_path / "healthy"
    assert [diagnose(*logs)[0] for logs in ((healthy, unclear), (unclear, LOGS[0]))] == [3, 1]
    assert diagnose(LOGS[0], tmp_path / "none")[0] == 2


def test_of_two_games_the_sick_one_is_shown(diagnose, tmp_path):
    log = two_games(tmp_path)
    shown = [
        [f"({side}): " in diagnose(log, *options)[1] for side in "AB"]
        for options in ((), ("--all",))
    ]
    assert shown == [[False, True], [True, True]]


def test_sarif_has_a_result_for_each_finding(diagnose):
    code, out, _ = diagnose(LOGS[1], "--format", "sarif", "--baseline", LOGS[0])
    log = json.loads(out)
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert (code, log["version"]) == (1, "2.1.0")
    assert len(set(rules)) == len(rules)
    states = {result["ruleId"]: result.get("baselineState") for result in run["results"]}
    assert states["d-saturated"] == "new"
    assert states["d-frozen"] == "updated"  # a warning before
    for result in run["results"]:
        assert result["ruleId"] in rules
        assert result["message"]["text"]
        assert result["level"] in ("error", "warning", "note", "none")
        # Of what is no fault the level has to be none.
        assert (result["kind"] == "fail") or result["level"] == "none"
    assert "%20" in diagnose("-", "--format", "sarif", stdin=HEALTHY)[1]


def test_github_is_told_in_its_own_commands(diagnose, tmp_path):
    log = tmp_path / "a, b: 100%.log"
    log.write_text(HEALTHY)
    _, out, _ = diagnose(LOGS[1], log, "--format", "github")
    lines = out.splitlines()
    assert lines[0].startswith("::error file=")
    assert ",title=D is not trained" in lines[0]
    assert lines[-1].startswith(f"::notice file={tmp_path}/a%2C b%3A 100%25.log,title=")


def test_a_baseline_shows_what_changed(diagnose, tmp_path):
    healthy, unclear = tmp_path / "healthy", tmp_path / "unclear"
    healthy.write_text(HEALTHY)
    unclear.write_text(UNCLEAR)
    _, out, _ = diagnose(LOGS[1], "--baseline", healthy)
    assert "new: D is too strong" in out
    assert "before 0.64" in out
    _, out, _ = diagnose(healthy, "--baseline", LOGS[1])
    assert "gone: D is too strong" in out
    # Silence is no cure.
    _, out, _ = diagnose(unclear, "--baseline", LOGS[1], "--json")
    states = {change["state"] for change in json.loads(out)["against"]["changes"]}
    assert states == {"not judged"}
    assert diagnose(healthy, "--baseline", tmp_path / "none")[0] == 2


def test_from_python(tmp_path):
    rows = [{"step": n, "d_loss": 0.01, "g_loss": 5.0 + 0.1 * n} for n in range(30)]
    history = {name: [row[name] for row in rows] for name in ("d_loss", "g_loss")}
    for numbers in (rows, history):
        diagnosis = cp.diagnose(numbers, objective="bce")
        assert "d-saturated" in diagnosis.ids()
        assert diagnosis.source == "rows"
        text = " ".join(str(diagnosis).split())
        assert (
            text.index("D is too strong") < text.index("to do first") < text.index("0.01 (median)")
        )
    with pytest.raises(UserError, match="^rows: "):
        cp.diagnose([{"step": 1, "colour": 0.5}])
    assert "the worst of 2" in str(cp.diagnose(two_games(tmp_path)))


def two_games(folder):
    path = folder / "two.log"
    sides = "loss_D_A: 0.4{} loss_G_A: 0.3{} loss_D_B: 0.01{} loss_G_B: 0.9{}\n"
    lines = (f"step {n} {sides.format(n % 7, n % 5, n % 3, n % 4)}" for n in range(30))
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_nothing_of_it_needs_what_training_needs(tmp_path):
    """As where the extra `train` is not installed: a log is judged, and its page written."""
    code = """
import sys
from counterpoise.errors import EXTRAS
class Nothing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in " ".join(EXTRAS.values()).split():
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Nothing())
from counterpoise.cli import main
codes = []
log, page = sys.argv[1:]
for verb in (["diagnose", log, "--html", page], ["watch", log, "--once"], ["presets"],
             ["train", "--preset", "demo"]):
    sys.argv[1:] = verb
    try:
        main()
    except SystemExit as stop:
        codes.append(stop.code)
print(codes)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, LOGS[1], tmp_path / "page.html"],
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1] == "[1, 0, 2, 2]", done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.endswith("pip install './counterpoise[train]'") for line in lines)
    assert "</html>" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_code_is_shown_as_it_is_to_be_written(diagnose, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    _, out, _ = diagnose(LOGS[0])
    code = REMEDIES["r1-without-gate"].code.strip().splitlines()
    assert set(code) <= {line.strip() for line in out.splitlines()}


def test_a_diagnosis_is_short_as_an_object_and_whole_in_a_notebook():
    diagnosis = cp.diagnose(LOGS[1])
    assert len(repr(diagnosis)) < 200 < len(diagnosis._repr_html_())
    assert "D(G(z))" in diagnosis._repr_html_()
