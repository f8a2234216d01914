"""Logs that are JSON documents or notebooks, and JSON lines with more than numbers in them."""

import json

import pytest

from counterpoise.errors import UserError
from counterpoise.logs.read import read_log
from log_helpers import SEED_LINE, TWO_ROWS, one, read, rows

OBJECTS = [{"step": step, **values} for step, values in TWO_ROWS]
LISTS = {"step": [10, 20], "D_losses": [0.5, 0.25], "G_losses": [1.5, 2.0], "seed": 3}
NESTED = [{"step": o["step"], "losses": {"d": {"d_loss": o["d_loss"]}}} for o in OBJECTS]
DCGAN = "[0/5][{}/100]\tLoss_D: 0.5\tLoss_G: 1.5\tD(x): 0.7\tD(G(z)): 0.3 / 0.2\n"


def notebook(*outputs):
    cells = [{"cell_type": "markdown", "source": ["d_loss: 9"]}]
    cells += [{"cell_type": "code", "outputs": [output]} for output in outputs]
    return {"cells": cells, "nbformat": 4, "nbformat_minor": 5}


def stream(text):
    return {"output_type": "stream", "name": "stdout", "text": text}


@pytest.mark.parametrize(
    ("document", "indent"),
    [
        (OBJECTS, None),
        (OBJECTS, 1),
        (LISTS, None),
        (LISTS, 4),
        ({"params": {"epochs": 2}, "history": LISTS}, 1),
        ({"best": 1, "log_history": OBJECTS}, 1),
        ({f"step {row['step']}": row for row in OBJECTS}, 1),
    ],
)
def test_json_documents(document, indent):
    trace = one(json.dumps(document, indent=indent))
    assert rows(trace) == TWO_ROWS
    assert trace.format == "jsonl"


def test_json_lines_with_a_torn_end():
    text = "".join(f"{json.dumps(row)}\n" for row in OBJECTS)
    trace = one(text + '{"st')
    assert rows(trace) == TWO_ROWS
    assert trace.notes == ("1 line is torn or not a JSON object: left out",)
    assert rows(one("[\n" + ",\n".join(map(json.dumps, OBJECTS)) + "\n]\n")) == TWO_ROWS


@pytest.mark.parametrize(
    ("text", "mapping", "expected"),
    [
        (
            json.dumps(NESTED, indent=2),
            {"losses/d/d_loss": "d_loss"},
            [(10, {"d_loss": 0.5}), (20, {"d_loss": 0.25})],
        ),
        # A list beside a number that is known is no column.
        (
            '{"step": 10, "d_loss": 0.5, "betas": [0.5, 0.999], "g_loss": [1, 2]}\n',
            {},
            [(10, {"d_loss": 0.5})],
        ),
        # Two names of one column are not mixed.
        (
            '{"step": 1, "d_loss_step": 0.5}\n{"step": 2, "d_loss_epoch": 9, "g_loss": 1}\n',
            {},
            [(1, {"d_loss": 0.5}), (2, {"g_loss": 1.0})],
        ),
        ('{"step": 1, "d_loss": 9, "x": 0.5}\n', {"x": "d_loss"}, [(1, {"d_loss": 0.5})]),
    ],
)
def test_names_in_json(text, mapping, expected):
    assert rows(one(text, mapping=mapping)) == expected


def test_stylegans_metrics_are_of_its_snapshots_and_say_where_its_losses_are():
    trace = one('{"results": {"fid50k_full": 25.5}, "snapshot_pkl": "network-000200.pkl"}\n')
    assert rows(trace) == [(200_000, {"held_out_fid": 25.5})]
    assert any("stats.jsonl" in note for note in trace.notes)


def test_a_document_on_one_long_line():
    trace = one(json.dumps({"d_loss": [0.5] * 20_000, "g_loss": [1.5] * 20_000}))
    assert trace.rows_read == 20_000


def test_what_json_has_that_is_not_known_is_listed():
    with pytest.raises(UserError, match="critics_loss, step_time; .*--map 'critics_loss="):
        read('{"step_time": 3, "critics_loss": 0.5}\n' * 2)


@pytest.mark.parametrize("indent", [None, 1])
def test_a_notebooks_output_is_read(tmp_path, indent):
    text = [DCGAN.format(0), DCGAN.format(50).rstrip("\n")]
    picture = {"output_type": "display_data", "data": {"image/png": "step: 1 d_loss: 9"}}
    document = notebook(stream(text), picture, stream(DCGAN.format(99)))
    path = tmp_path / "train.ipynb"
    path.write_text(json.dumps(document, indent=indent), encoding="utf-8")
    (trace,) = read_log(path)
    assert trace.format == "dcgan-tutorial"
    assert list(trace.steps) == [0, 50, 99]
    table = "   step  d_loss  g_loss\n0    10    0.50     1.5\n1    20    0.25     2.0"
    shown = {"output_type": "execute_result", "data": {"text/plain": table, "text/html": "<b>"}}
    assert rows(one(json.dumps(notebook(shown), indent=1))) == TWO_ROWS


def test_a_printed_configuration_is_no_document():
    text = json.dumps({"lr": 0.1, "d_loss": "bce"}, indent=2) + "\n"
    lines = "".join(SEED_LINE.format(epoch=1, step=n) for n in range(1, 4))
    assert rows(one(text + lines)) == rows(one(lines))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        '{\n"a": [1,\n',
        "[\n1\n]\n",
        *(
            json.dumps({"cells": cells, "nbformat": 4}, indent=1)
            for cells in (None, [3, None], [{"outputs": [{"data": 1}]}])
        ),
    ],
)
def test_documents_with_nothing_in_them(text):
    with pytest.raises(UserError, match="no losses"):
        read(text)
