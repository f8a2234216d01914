"""`counterpoise diagnose` as its user meets it."""

import io
import json
import sys
from pathlib import Path

import jsonschema
import pytest

from counterpoise.commands.diagnosis import json_schema

SEED = Path(__file__).parent / "data" / "seed"
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


def test_the_questions_logs_are_explained(diagnose):
    code, out, err = diagnose(*LOGS)
    assert code == 1
    assert "Traceback" not in err
    page = out
    assert page.count("Not healthy:") == 3
    for finding in ("d-frozen", "d-restarts", "d-saturated", "lsgan-on-sigmoid"):
        assert f"[{finding}]" in page
    assert "▁" in page
    assert "Not judged, for lack of" in page


def test_json_follows_the_schema(diagnose):
    code, out, _err = diagnose(*LOGS, "--json")
    assert code == 1
    rows = [json.loads(line) for line in out.splitlines()]
    schema = json.loads(json_schema())
    for row in rows:
        jsonschema.validate(row, schema)
    assert [len(row["findings"]) for row in rows] == [3, 3, 4]
    wanted = {"id", "severity", "first_step", "last_step", "confidence", "evidence", "meaning"}
    assert wanted | {"remedies"} <= set(rows[0]["findings"][0])
    assert json.loads(diagnose("--schema")[1]) == schema


def test_documented_schema_is_the_real_one():
    documented = Path(__file__).parents[1] / "docs" / "diagnosis.schema.json"
    assert json.loads(documented.read_text(encoding="utf-8")) == json.loads(json_schema())


def test_the_html_page_escapes_what_a_log_says(diagnose, tmp_path):
    log = tmp_path / "<script>alert(1)<script>.log"
    log.write_text(HEALTHY)
    page = tmp_path / "page.html"
    code, _out, err = diagnose(log, "--html", page)
    assert code == 0, err
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert text.count('<figure class="chart"') == 3


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
    ("log", "code", "says"), [(HEALTHY, 0, "Healthy"), (HEALTHY[:200], 1, "not-enough-evidence")]
)
def test_a_pipe_is_judged(diagnose, log, code, says):
    exit_code, out, _err = diagnose("-", stdin=log)
    assert exit_code == code, out
    assert says in out


def test_a_mean_of_halves_can_be_said(diagnose):
    log = "".join(f"step {step} d_loss: 0.693 g_loss: 0.70\n" for step in range(20))
    options = ("-", "--objective", "bce", "--json")
    assert "--d-loss-is-mean" in diagnose(*options, stdin=log)[1]
    assert '"d-too-weak"' in diagnose(*options, "--d-loss-is-mean", stdin=log)[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], ""),
        ([LOGS[0], "--objective", "hing"], "unknown objective"),
        ([LOGS[0], "--map", "d_loss"], "THEIR_COLUMN=OUR_COLUMN"),
        ([LOGS[0], "--map", "=d_loss"], "THEIR_COLUMN=OUR_COLUMN"),
        ([""], "an empty path"),
        (["-"], "empty"),
        ([LOGS[0], "nothing.log"], "nothing.log"),
        ([str(Path(__file__).parents[1] / "LICENSE")], "no losses"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_the_others_are_judged(diagnose, arguments, says):
    code, out, err = diagnose(*arguments)
    assert code == 2
    assert err.count("\n") == 1, err
    assert says in err
    assert ("[d-frozen]" in out) == ("nothing.log" in arguments)
