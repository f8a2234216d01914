"""`counterpoise diagnose` as its user meets it."""

import io
import json
import sys
from pathlib import Path

import jsonschema
import pytest

from counterpoise.commands.diagnosis import json_schema, parse_mapping
from counterpoise.errors import UserError

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


def test_a_pipe_and_a_healthy_log(diagnose):
    code, out, _err = diagnose("-", stdin=HEALTHY)
    assert code == 0, out
    assert "Healthy" in out


def test_a_log_that_says_nothing_is_not_called_healthy(diagnose):
    code, out, _err = diagnose("-", stdin=HEALTHY[:200])
    assert code == 1
    assert "not-enough-evidence" in out


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


def test_a_missing_file_is_one_line_and_the_others_are_judged(diagnose, tmp_path):
    code, out, err = diagnose(tmp_path / "nothing.log", LOGS[0])
    assert code == 2
    assert err.count("\n") == 1
    assert "nothing.log" in err
    assert "[d-frozen]" in out


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "empty"), (b"\x00\x01\x02" * 400, ""), (b"hello\nworld\n" * 9, "")],
)
def test_unreadable_files(diagnose, tmp_path, content, says):
    path = tmp_path / "train.log"
    path.write_bytes(content)
    code, out, err = diagnose(path)
    assert code == 2
    assert err.count("\n") == 1, err
    assert "train.log" in err
    assert says in err
    assert not out


def test_a_users_mistakes_are_one_line(diagnose):
    for arguments in ([], [LOGS[0], "--objective", "hing"], [LOGS[0], "--map", "errD"]):
        code, _out, err = diagnose(*arguments)
        assert code == 2
        assert err.count("\n") == 1, err


def test_mapping():
    assert parse_mapping(["err=D=d_loss", "x=g_loss"]) == {"err=D": "d_loss", "x": "g_loss"}
    with pytest.raises(UserError, match="THEIR_COLUMN=OUR_COLUMN"):
        parse_mapping(["d_loss"])


def test_a_mean_of_halves_can_be_said(diagnose):
    log = "".join(f"step {step} d_loss: 0.693 g_loss: 0.70\n" for step in range(20))
    options = ("-", "--objective", "bce", "--json")
    _, unsaid, _ = diagnose(*options, stdin=log)
    assert "--d-loss-is-mean" in unsaid
    _, said, _ = diagnose(*options, "--d-loss-is-mean", stdin=log)
    assert '"d-too-weak"' in said


def test_an_empty_path_is_not_the_folder_that_one_is_in(diagnose, tmp_path, monkeypatch):
    (tmp_path / "stats.jsonl").write_text('{"Loss/D/loss": 0.5}\n')
    monkeypatch.chdir(tmp_path)
    code, _, err = diagnose("")
    assert (code, err.count("\n")) == (2, 1)
    assert "an empty path; give a log file" in err


def test_standard_input_that_is_closed(counterpoise, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    code, _, err = counterpoise("diagnose", "-")
    assert (code, err) == (
        2,
        "counterpoise: standard input: closed; pipe a log into it, or give a file\n",
    )
