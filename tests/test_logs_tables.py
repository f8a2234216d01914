"""Tables as programs draw and export them: what is read of them, and what is refused."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.errors import UserError
from counterpoise.logs import lines as log_lines
from counterpoise.logs.columns import naming_advice, table_columns
from counterpoise.logs.lines import LineReader
from counterpoise.logs.read import read_log
from counterpoise.logs.runs import traces_of
from log_helpers import one, read, rows

LINES = "".join(f"step {step} d_loss: 0.5 g_loss: 1.5\n" for step in range(12))
BOX = "+-----+-----+\n| lr_d | 0.0002 |\n| d_loss | 3 |\n+-----+-----+\n"
DRAWN = "| step | d_loss | g_loss |\n|---|---|---|\n| 12 | 1.1 | 0.8 |\n"

TWO_ROWS = [(10, {"d_loss": 0.5, "g_loss": 1.5}), (20, {"d_loss": 0.25, "g_loss": 2.0})]
TABULATE = """  step    d_loss    g_loss
------  --------  --------
    10    0.5000    1.5000
    20    0.2500    2.0000
"""
GRID = """+------+--------+--------+
| step | d_loss | g_loss |
+======+========+========+
|   10 |   0.50 |   1.50 |
+------+--------+--------+
|   20 |   0.25 |   2.00 |
+------+--------+--------+
"""
MARKDOWN = "| step | d_loss | g_loss |\n|---|:--|--:|\n| 10 | 0.5 | 1.5 |\n| 20 | 0.25 | 2 |\n"
RICH = (
    "\u250f\u2501\u2501\u2533\u2501\u2513\n\u2503 step \u2503 d_loss \u2503 g_loss \u2503\n"
    "\u2521\u2501\u2501\u2547\u2501\u2529\n\u2502 10 \u2502 0.5 \u2502 1.5 \u2502\n"
    "\u2502 20 \u2502 0.25 \u2502 2 \u2502\n\u2514\u2500\u2500\u2534\u2500\u2518\n"
)
PANDAS = "   step  d_loss  g_loss\n0    10    0.50     1.5\n1    20    0.25     2.0\n"
WITH_SPACES = "Step   D Loss   G Loss\n10   0.5   1.5\n20   0.25   2\n"
PIPES = "step|d_loss|g_loss\n10|0.5|1.5\n20|0.25|2\n"
WANDB = (
    '"Step","sun-12 - loss_D","sun-12 - loss_D__MIN","sun-12 - loss_D__MAX","sun-12 - loss_G"\n'
    '"10","0.5","0.1","0.9","1.5"\n"20","0.25","0.1","0.9","2"\n'
)
LIGHTNING = (
    "d_loss_epoch,d_loss_step,epoch,g_loss_step,step\n,0.5,0,1.5,10\n9,,0,,15\n,0.25,0,2,20\n"
)


@pytest.mark.parametrize(
    "text", [TABULATE, GRID, MARKDOWN, RICH, PANDAS, WITH_SPACES, PIPES, WANDB, LIGHTNING]
)
def test_tables_of_programs(text):
    trace = one(text)
    assert rows(trace) == TWO_ROWS
    assert trace.notes == ()
    # Below other lines too.
    assert rows(one("Training begins.\n\n" + text)) == TWO_ROWS


def test_boxes_of_names_and_numbers():
    rule = "-" * 26 + "\n"
    box = "| time/         |        |\n|    step       | {}     |\n| train/d_loss  | {}     |\n"
    text = "Using cpu device\n" + "".join(
        rule + box.format(step, d) + f"| train/g_loss  | {g}   |\n" + rule
        for step, d, g in ((10, 0.5, 1.5), (20, 0.25, 2))
    )
    trace = one(text)
    assert (rows(trace), trace.format) == (TWO_ROWS, "columns")
    # Without a rule after the last box.
    assert rows(one(text.removesuffix(rule))) == TWO_ROWS
    with pytest.raises(UserError, match="no losses or outputs"):
        read(text.replace("_loss", "_lost"))


@given(
    text=st.sampled_from([TABULATE, GRID, MARKDOWN, RICH, PANDAS, WITH_SPACES, WANDB, LIGHTNING]),
    cuts=st.lists(st.integers(0, 12), max_size=4),
    look_ahead=st.integers(4, 9),
)
@settings(max_examples=60)
def test_portions_are_read_as_at_once(text, cuts, look_ahead):
    lines = text.splitlines(keepends=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_lines, "LOOK_AHEAD", look_ahead)
        reader = LineReader("x", None, {})
        last = 0
        for cut in [*sorted(cuts), len(lines)]:
            reader.feed(lines[last:cut])
            last = max(last, cut)
        reader.finish()
    (trace,) = traces_of(reader.collectors())
    assert rows(trace) == TWO_ROWS


def test_of_two_columns_of_one_number_one_is_read():
    columns = table_columns(
        ["sun - loss_D", "sea - loss_D", "l_g_pix_epoch", "l_g_pix_step", "l_g_percep"], {}
    )
    assert columns == ["d_loss", None, None, "+g_content", "+g_content"]
    # One that the user names comes first, whatever stands before it.
    assert table_columns(["d_loss", "x"], {"x": "d_loss"}) == [None, "d_loss"]
    assert table_columns(["epoch", "batch", "step"], {}) == ["epoch", None, "step"]
    trace = one("step,sun - loss_D,sea - loss_D\n1,0.5,0.75\n2,0.5,0.75\n")
    assert rows(trace) == [(1, {"d_loss": 0.5}), (2, {"d_loss": 0.5})]
    assert trace.notes == ("of several columns of one number one is read, not sea - loss_D",)


def test_numbers_for_each_step_are_no_steps():
    assert table_columns(["loss_step", "loss_epoch", "trainer/global_step"], {}) == [
        None,
        None,
        "step",
    ]


def test_a_validations_columns_change_no_verdict():
    names = "epoch,d_loss,g_loss,d_acc{}\n"
    training = names.format("") + "".join(f"{n},0.001,8.1,1.0\n" for n in range(8))
    both = names.format(",val_d_loss,val_g_loss,val_d_acc") + "".join(
        f"{n},0.001,8.1,1.0,1.1,0.9,0.5\n" for n in range(8)
    )
    assert rows(one(both)) == rows(one(training))
    (finding, *_) = diagnose(one(both)).findings
    assert finding.id == "d-saturated"
    assert [f.id for f in diagnose(one(training)).findings] == [
        f.id for f in diagnose(one(both)).findings
    ]


def test_event_files_keep_a_validations_and_an_epochs_numbers_apart(tmp_path):
    from torch.utils.tensorboard.writer import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        for step in (10, 20):
            writer.add_scalar("d_loss_step", 0.5, step)
            writer.add_scalar("d_loss_epoch", 9.0, step)
            writer.add_scalar("train/g_loss", 1.5, step)
            writer.add_scalar("val/g_loss", 9.0, step)
    (trace,) = read_log(tmp_path)
    assert rows(trace) == [(s, {"d_loss": 0.5, "g_loss": 1.5}) for s in (10, 20)]
    (trace,) = read_log(tmp_path, mapping={"d_loss_epoch": "d_loss"})
    assert rows(trace)[1] == (20, {"d_loss": 9.0, "g_loss": 1.5})


@pytest.mark.parametrize(
    ("header", "advice"),
    [
        ("Epoch,LearnRate,LossOfGenerator,LossOfDiscriminator,Score", "LossOfDiscriminator=d_loss"),
        ("Wall time,Step,Value", "Value=d_loss"),
        ("epoch,critics error rate,value", "'critics error rate=d_loss'"),
        ("schritt,verlust,ok", "verlust=d_loss"),
        ("step,time", "errD=d_loss"),
    ],
)
def test_the_column_that_a_refusal_suggests(header, advice):
    cells = ["7", *(["0.5"] * header.count(","))]
    with pytest.raises(UserError, match="no known column") as caught:
        read(f"{header}\n{','.join(cells)}\n")
    assert str(caught.value).endswith(f"--map {advice}")


def test_advice_for_names_of_no_numbers():
    assert naming_advice([]) == "--map errD=d_loss"


@pytest.mark.parametrize("text", ["0,0.5,1.5\n1,0.25,2\n", "0.5 1.5\n0.25 2\n", "1;0,5\n2;0,25\n"])
def test_a_table_without_a_header(text):
    for whole in (text, text * 40):
        with pytest.raises(UserError, match="without a header; put .* step,d_loss,g_loss"):
            read(whole)


def test_numbers_before_a_log_are_no_table():
    assert rows(one("1 2\n3 4\n" + "step: 10 d_loss: 0.5\n"))[0] == (10, {"d_loss": 0.5})


@pytest.mark.parametrize("mark", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16(tmp_path, mark):
    text = "step,d_loss,g_loss\n10,0.5,1.5\n20,0.25,2\n"
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode(mark))
    if mark == "utf-16":
        assert rows(read_log(path)[0]) == TWO_ROWS
    else:
        with pytest.raises(UserError, match="UTF-16 without its mark"):
            read_log(path)


def test_utf_16_from_standard_input(counterpoise, monkeypatch):
    data = "".join(f"step: {n} Loss_D: 0.5 Loss_G: 1\r\n" for n in range(9)).encode("utf-16")
    stream = io.BufferedReader(io.BytesIO(data))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(stream, encoding="utf-8"))
    code, out, err = counterpoise("diagnose", "-", "--json")
    assert (code in (0, 1), err) == (True, "")
    assert '"rows":9' in out.replace(" ", "")


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (b"\x1f\x8b\x08\0", "unpack it first: gunzip"),
        (b"PK\x03\x04\x14\0", "unpack it first: unzip"),
        (b"PK\x03\x04" + b"\0" * 26 + b"archive/data.pkl", "a binary file, not a log"),
        (b"\xfd7zXZ\0", "unpack it first: unxz"),
        (b"\x7fELF\0\1\2\3", "a binary file, not a log"),
    ],
)
def test_files_that_are_no_text(tmp_path, start, says):
    path = tmp_path / "train.log"
    path.write_bytes(start + bytes(range(256)))
    with pytest.raises(UserError, match=says):
        read_log(path)


def test_a_folder_with_files_that_look_like_logs(tmp_path):
    (tmp_path / "version_0").mkdir()
    (tmp_path / "version_0" / "metrics.csv").touch()
    (tmp_path / "opt.txt").touch()
    with pytest.raises(UserError, match=r"; there is version_0/metrics.csv: give that$"):
        read_log(tmp_path)
    for name in ("train.log", "loss_log.txt", "b.log"):
        (tmp_path / name).touch()
    says = r"; there are b.log, loss_log.txt and train.log: give one of them$"
    with pytest.raises(UserError, match=says):
        read_log(tmp_path)


@pytest.mark.parametrize("text", [BOX + LINES, LINES + BOX + LINES, LINES + DRAWN])
def test_a_table_in_a_log_of_lines_is_not_the_log(text):
    first, *_ = read(text)
    assert rows(first)[:12] == [(step, {"d_loss": 0.5, "g_loss": 1.5}) for step in range(12)]
