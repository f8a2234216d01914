"""Tables as programs draw and export them: what is read of them, and what is refused."""

import json

import pytest

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.errors import UserError
from counterpoise.logs.columns import NamedRows
from counterpoise.logs.read import read_log
from log_helpers import TWO_ROWS, one, read, rows

LINES = "".join(f"step {step} d_loss: 0.5 g_loss: 1.5\n" for step in range(12))
BOX = "+-----+-----+\n| lr_d | 0.0002 |\n| d_loss | 3 |\n+-----+-----+\n"
NAN_AT_LAST = [*[0.25] * 6, "nan", "nan", "nan"]
NAN_BETWEEN = [0.25, "nan", 0.25, "nan", "nan", 0.25, "nan", "nan", "nan"]
DRAWN = "| step | d_loss | g_loss |\n|---|---|---|\n| 12 | 1.1 | 0.8 |\n"
LIGHTNING = (
    "d_loss_epoch,d_loss_step,epoch,g_loss_step,step\n,0.5,0,1.5,10\n9,,0,,15\n,0.25,0,2,20\n"
)
TABLES = {
    "csv": 'step,d_loss,"g_loss",note\n10,0.5,1.5,x\n20,"0.25",2,\n',
    "tsv": "step\td_loss\tg_loss\n10\t0.5\t1.5\n20\t0.25\t2\n",
    "semicolons": "step;d_loss;g_loss\n10;0,5;1,5\n20;0,25;2\n",
    "spaces": "step d_loss g_loss\n10  0.5 1.5\n20  0.25 2\n",
    "tabulate": """  step    d_loss    g_loss
------  --------  --------
    10    0.5000    1.5000
    20    0.2500    2.0000
""",
    "grid": """+------+--------+--------+
| step | d_loss | g_loss |
+======+========+========+
|   10 |   0.50 |   1.50 |
+------+--------+--------+
|   20 |   0.25 |   2.00 |
+------+--------+--------+
""",
    "markdown": "| step | d_loss | g_loss |\n|--|:-|-:|\n| 10 | 0.5 | 1.5 |\n| 20 | 0.25 | 2 |\n",
    "rich": (
        "\u250f\u2501\u2501\u2533\u2501\u2513\n\u2503 step \u2503 d_loss \u2503 g_loss \u2503\n"
        "\u2521\u2501\u2501\u2547\u2501\u2529\n\u2502 10 \u2502 0.5 \u2502 1.5 \u2502\n"
        "\u2502 20 \u2502 0.25 \u2502 2 \u2502\n\u2514\u2500\u2500\u2534\u2500\u2518\n"
    ),
    "pandas": "   step  d_loss  g_loss\n0    10    0.50     1.5\n1    20    0.25     2.0\n",
    "names with spaces": "Step   D Loss   G Loss\n10   0.5   1.5\n20   0.25   2\n",
    "pipes": "step|d_loss|g_loss\n10|0.5|1.5\n20|0.25|2\n",
    "wandb": (
        '"Step","sun-12 - loss_D","sun-12 - loss_D__MIN","sun-12 - loss_D__MAX","sun-12 - loss_G"\n'
        '"10","0.5","0.1","0.9","1.5"\n"20","0.25","0.1","0.9","2"\n'
    ),
    "lightning": LIGHTNING,
    "validation": "step,d_loss,g_loss,val_d_loss,val_g_loss\n10,0.5,1.5,9,9\n20,0.25,2,9,9\n",
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_of_programs(kind):
    trace = one(TABLES[kind])
    assert rows(trace) == TWO_ROWS
    assert trace.notes == ()
    # Below other lines too.
    assert rows(one("Training begins.\n\n" + TABLES[kind])) == TWO_ROWS


def test_holes_and_a_header_that_comes_again():
    trace = one("step,errD,errG\n10,0.5,1.5\n20,,1.25\nstep,errD,errG\n30,0.75,nan\n")
    assert [step for step, _ in rows(trace)] == [10, 20, 30]
    assert rows(trace)[1] == (20, {"g_loss": 1.25})
    assert trace.non_finite == ((30, "g_loss"),)
    assert trace.notes == ()
    assert [v for _, v in rows(one("d_loss\n0.5\n0.25\n"))] == [{"d_loss": 0.5}, {"d_loss": 0.25}]


@pytest.mark.parametrize(
    ("names", "mapping", "columns"),
    [
        (["sun - loss_D", "sea - loss_D"], {}, ["d_loss", None]),
        (["l_g_pix_epoch", "l_g_pix_step", "l_g_percep"], {}, [None, "g_content", "g_content"]),
        # One that the user names comes first, whatever stands before it.
        (["d_loss", "x"], {"x": "d_loss"}, [None, "d_loss"]),
        (["epoch", "batch", "step"], {}, ["epoch", None, "step"]),
        # Numbers for each step are no steps.
        (["loss_step", "loss_epoch", "trainer/global_step"], {}, [None, None, "step"]),
    ],
)
def test_of_two_columns_of_one_number_one_is_read(names, mapping, columns):
    assert NamedRows(mapping).columns_of(names) == columns


def test_a_column_that_is_left_out_is_told():
    trace = one("step,sun - loss_D,sea - loss_D\n1,0.5,0.75\n2,0.5,0.75\n")
    assert rows(trace) == [(1, {"d_loss": 0.5}), (2, {"d_loss": 0.5})]
    assert "sea - loss_D" in trace.notes[0]


@pytest.mark.parametrize("text", ["0,0.5,1.5\n1,0.25,2\n", "0.5 1.5\n0.25 2\n", "1;0,5\n2;0,25\n"])
def test_a_table_without_a_header(text):
    for whole in (text, text * 40):
        with pytest.raises(UserError, match="a line of names above it"):
            read(whole)


@pytest.mark.parametrize(
    "text",
    [
        BOX + LINES,
        LINES + BOX + LINES,
        LINES + DRAWN,
        "1 2\n3 4\n" + LINES,
        "NaN infinity\nNaN infinity\n" + LINES,
    ],
)
def test_a_table_in_a_log_of_lines_is_not_the_log(text):
    first, *_ = read(text)
    assert rows(first)[:12] == [(step, {"d_loss": 0.5, "g_loss": 1.5}) for step in range(12)]


@pytest.mark.parametrize(
    ("name", "values", "severity"),
    [
        ("codebook", NAN_AT_LAST, "note"),
        ("warp_loss", NAN_AT_LAST, "severe"),
        ("val_loss", NAN_BETWEEN, None),
        ("codebook", NAN_AT_LAST[6:] * 3, None),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_what_becomes_nan_for_good_is_told_whatever_its_name(name, values, severity, as_json):
    losses = [1.2, 1.1, 1.3, 1.15, 1.25, 1.2, 1.1, 1.3, 1.2]
    table = [
        {"step": step, "d_loss": loss, "g_loss": 2 - loss, name: float(value)}
        for step, (loss, value) in enumerate(zip(losses, values, strict=True))
    ]
    lines = [",".join(table[0]), *(",".join(map(str, row.values())) for row in table)]
    if as_json:
        lines = [json.dumps(row) for row in table]
    trace = one("\n".join(lines) + "\n")
    assert trace.non_finite == (((6, name),) if severity else ())
    found = {finding.id: finding.severity for finding in diagnose(trace).findings}
    assert found.get("non-finite") == severity
    assert ("healthy" in found) == (severity is None)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(("left_out", "is_told"), [((), False), (range(5, 12), True)])
def test_tensorboards_export_is_known_by_its_file_and_its_gaps_are_told(
    tmp_path, as_json, left_out, is_told
):
    points = [(10.5 + step, step, 0.5) for step in range(20) if step not in left_out]
    text = json.dumps(points)
    if not as_json:
        lines = (",".join(map(str, point)) for point in points)
        text = "\n".join(("Wall time,Step,Value", *lines))
    path = tmp_path / f"run-1-tag-Loss_D.{'json' if as_json else 'csv'}"
    path.write_text(text, encoding="utf-8")
    (trace,) = read_log(path)
    assert rows(trace)[0] == (0, {"d_loss": 0.5})
    assert any("NaN" in note for note in trace.notes) == is_told
