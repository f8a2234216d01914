"""How people print and paste what they post: kinds that a stranger's logs had."""

import json

import pytest

from counterpoise.diagnosis.diagnose import diagnose
from log_helpers import D_REAL, TWO_ROWS, A, D, G, one, rows


@pytest.mark.parametrize("line", ["dis_loss: 9 D_loss: {d}", "D_loss: {d} dis_loss: 9"])
def test_the_own_spelling_of_a_column_goes_before_its_words(line):
    text = "".join(f"step {n} {line.format(d=d)}\n" for n, d in ((1, 0.5), (2, 0.25)))
    assert rows(one(text)) == [(1, {D: 0.5}), (2, {D: 0.25})]
    assert rows(one(text, mapping={"dis_loss": "d_loss"})) == [(1, {D: 9}), (2, {D: 9})]
    objects = [{"step": 1, "dis_loss": 9, "D_loss": 0.5}, {"step": 2, "dis_loss": 9, "D_loss": 1}]
    assert rows(one("".join(map(json.dumps, objects)).replace("}{", "}\n{")))[0] == (1, {D: 0.5})


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("Gen/Dis Loss: 33.5/-5.5", {G: 33.5, D: -5.5}),
        ("D_loss: 0.5 D(SR1)/D(SR2): 0.25/0.125", {D: 0.5, "d_fake_before": 0.25}),
        ("D_loss_real/adv_loss: 0.5 / 1.5", {D_REAL: 0.5, A: 1.5}),
        # What names one number has one.
        ("train/D_loss: 0.5/100", {D: 0.5}),
    ],
)
def test_a_pair_of_names_is_a_pair_of_numbers(line, values):
    ((_, found),) = rows(one(f"step 1 {line}\n"))
    assert values.items() <= found.items()


def test_a_tensor_that_is_not_a_number_needs_no_name():
    tensor = "tensor({}, device='cuda:0', grad_fn=<NegBackward>) None\n"
    text = "".join(f"epoch\n3 step {50 * n}\n{tensor.format(n)}" for n in range(4))
    found = diagnose(one(f"{text}epoch\n3 step 200\n{tensor.format('nan')}")).findings[0]
    assert (found.id, found.severity, found.first_step) == ("non-finite", "severe", 200)


WITHIN = "step {step} Loss_D: {d} Loss_G: {g}"


@pytest.mark.parametrize(
    "line",
    [
        '  7 {{"step": {step}, "d_loss": {d}, "g_loss": {g}}}',
        '{{"log":"' + WITHIN + '\\n","stream":"stdout","time":"2026-01-01"}}',
        '{{"level":"INFO","message":"' + WITHIN + '"}}',
    ],
)
@pytest.mark.parametrize("above", ["", "a_log.jsonl\n"])
def test_json_lines_behind_a_number_or_around_a_text(line, above):
    text = "".join(f"{line.format(step=n, d=v[D], g=v[G])}\n" for n, v in TWO_ROWS)
    assert rows(one(above + text)) == TWO_ROWS
