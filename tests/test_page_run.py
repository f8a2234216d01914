"""What a page reads of a run, whatever state it is in, and what it shows of it."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.pages.charts import METRIC, charts_of
from counterpoise.pages.page import page_body
from counterpoise.pages.run import log_run, read_run
from counterpoise.pages.samples import read_samples
from counterpoise.run_folder import RunFolder
from report_helpers import STEPS, event, rows, write_lines, write_run, write_samples
from trace_helpers import bce_columns, trace


def read(folder, name="mine"):
    run = read_run(folder.path)
    run.name = name
    return run


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "run")


def test_a_whole_run(folder):
    run = read(folder)
    assert run.notes == []
    assert (run.state.status.kind, run.state.progress) == ("ended", "step 60 of 60")
    assert run.state.policy == "auto"
    assert run.policy_options["r1"] == 0.1
    assert run.bicubic == {"psnr_y": 26.0, "rmse": 12.0, "lpips": 0.4}
    drawn = run.metric_curves.curves[METRIC, "psnr_y"].to_json([])["y"]
    assert drawn[-1] == 27.0
    assert 26.0 not in drawn  # bicubic is no step of it
    assert run.samples.steps == [20, 40, 60]
    assert [game.title for game in run.state.games] == [""]
    facts = dict(run.facts)
    assert (facts["steps on record"], facts["seconds per step"]) == (f"{STEPS}", "0.5 (mean)")


def test_a_run_of_balance_has_neither_metrics_nor_a_plan(folder):
    for path in (folder.metrics, *folder.sample_files()):
        path.unlink()
    for other in ("generator: {depth: 3}\ntrain: {}\n", "balance: {options: {low: high}}\n"):
        folder.config.write_text(other, encoding="utf-8")  # of another version
        assert read(folder).letters == ""
    folder.config.write_text("balance:\n  policy: none\n", encoding="utf-8")
    write_lines(folder.events, [event(0, "began"), event(STEPS, "closed")])
    run = read(folder)
    assert (run.letters, run.notes) == ("", [])
    state = run.state
    assert (state.policy, state.status.kind, state.progress) == ("none", "closed", "step 60")


def test_with_config_alone_nothing_is_judged_and_that_is_said(folder):
    for path in (folder.signals, folder.metrics, folder.events, *folder.sample_files()):
        path.unlink()
    run = read(folder)
    assert run.notes == ["signals.jsonl is not there: nothing to draw, nothing to judge"]
    assert (run.state.games, run.state.status.kind) == ((), "starting")
    assert run.verdicts[0][0].startswith("Not judged: it has no step with a discriminator")


def test_the_recommendation_is_of_a_checkpoint_that_is_there(folder):
    assert read(folder).best_checkpoint is None
    folder.checkpoints.mkdir()
    for step in (40, 50):
        folder.checkpoint(step).touch()
    run = read(folder)
    assert (run.notes, run.best_checkpoint) == ([], folder.checkpoint(50))


def picture(uri):
    head, _, data = uri.partition(",")
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_samples_are_cut_from_their_sheets(folder):
    samples = read(folder).samples
    assert (samples.crops, samples.side_px, len(samples.outputs)) == (2, 32, 3)
    sheet = np.asarray(Image.open(folder.sample(60)).convert("RGB"))
    tops, left = (18, 18 + 32 + 4), 3 * (32 + 4)
    hr = np.concatenate([sheet[top : top + 32, left : left + 32] for top in tops])
    assert (picture(samples.hr) == hr).all()
    assert picture(samples.outputs[0]).shape == hr.shape
    assert len({samples.lr, samples.bicubic, samples.hr, *samples.outputs}) == 6


def test_damaged_and_foreign_sheets_are_left_out_and_told(folder):
    folder.sample(40).write_bytes(b"no picture")
    folder.sample(20).unlink()
    folder.sample(20).mkdir()
    write_samples(folder, [30])
    Image.fromarray(np.zeros((50, 50, 3), np.uint8)).save(folder.sample(60))
    samples = read(folder).samples
    assert samples.steps == [30]
    assert sorted(note[:25] for note in samples.notes) == [
        "samples/step-00000020.png",
        "samples/step-00000040.png",
        "samples/step-00000060.png",
    ]


def test_outputs_of_other_pictures_are_not_shown_as_these(folder):
    write_samples(folder, [20], seed=1)
    samples = read(folder).samples
    assert samples.steps == [40, 60]
    assert samples.notes == ["samples of step 20 are of other held-out pictures: left out"]


def test_as_many_samples_as_fit_with_the_first_and_the_last(tmp_path):
    """Also where the last ones, of a G that has collapsed to white, are the smallest."""
    folder = RunFolder(tmp_path)
    write_samples(folder, range(10, 300, 10))
    files = tuple(folder.sample_files())
    everything = read_samples(files, (), 10_000_000)
    assert everything.steps == list(range(10, 300, 10))
    fixed = len(everything.lr + everything.bicubic + everything.hr)
    size = sum(map(len, everything.outputs))
    for share in (0.8, 0.3):
        room = max(int(fixed + share * size), 2 * fixed)
        some = read_samples(files, (), room)
        assert (some.steps[0], some.steps[-1]) == (10, 290)
        assert fixed + sum(map(len, some.outputs)) <= room
    least = read_samples(files, (), 0)
    assert (least.steps, least.crops) == ([290], 1)


def test_the_charts_of_a_run(folder):
    charts = {chart.key: chart for chart in charts_of([read(folder)])}

    def labels(key):
        return [series["label"] for series in charts[key].series]

    assert labels("g-loss") == ["G, all terms", "pixel", "perceptual", "adversarial"]
    assert labels("d-outputs") == ["D(x)", "D(G(z)) before", "D(G(z)) after"]
    shown = [s["curve"] for s in charts["d-accuracy"].series]
    assert shown == ["accuracy", "d_accuracy_real", "d_accuracy_fake", "auc"]
    assert "actions" not in charts  # It never acted.
    psnr = charts["metric-0"]
    assert psnr.title == "Held-out images: PSNR (Y), dB"
    assert psnr.lines == [26.0]
    assert psnr.what == "Higher is better. Dashed: plain bicubic, 26.00."
    assert charts["metric-1"].what.startswith("Lower is better.")


def test_several_runs_share_a_chart_for_each_curve(folder, tmp_path):
    other = read(write_run(tmp_path / "b", rows(auc=None), samples=()), "other")
    charts = {chart.title: chart for chart in charts_of([read(folder), other])}
    loss = charts["Loss of G, by term: G, all terms"]
    assert [(s["run"], s["label"]) for s in loss.series] == [(0, "mine"), (1, "other")]
    assert [s["run"] for s in charts["D's accuracy and AUC: AUC"].series] == [0]
    psnr = charts["Held-out images: PSNR (Y), dB"]
    assert len(psnr.series) == 2
    assert len(psnr.lines) == 1  # The two runs have the same bicubic.


def test_each_of_several_discriminators_is_judged_and_drawn_by_name(tmp_path):
    saturated = {"d_loss": 1e-4, "d_loss_real": 5e-5, "d_loss_fake": 5e-5, "d_real": 0.99999,
                 "d_fake_before": 1e-5, "d_fake_after": 1e-5, "auc": 1.0}  # fmt: skip
    signals = []
    for row in rows(pretrain=0, g_terms=lambda step: {"adversarial": 0.25 + step % 5 / 50}):
        own = {n: row.pop(n) for n in [*row] if n.startswith("d_") or n in ("auc", "action")}
        acts = {"d_steps": 0, "reason": "it rests"}
        row["discriminators"] = {"patch": own, "image": own | saturated | {"action": acts}}
        signals.append(row)
    run = read(write_run(tmp_path / "run", signals, samples=()))
    facts = dict(run.state.facts)
    assert facts["learning rates"] == "G 0.001, D patch 0.0001, D image 0.0001"
    assert facts["policy"] == "auto: patch: changes nothing; image: d_steps 0 (it rests)"
    patch, image = run.verdicts
    assert patch[0].startswith("patch: ")
    assert image[0].startswith("image: Not healthy")
    number, title, each = run.findings[0]
    assert image[1] == run.worst == each[0][1].severity == "severe"
    assert (number, title.partition(":")[0]) == (1, "image")
    charts = {chart.key: chart for chart in charts_of([run])}
    assert [s["label"] for s in charts["d-loss"].series][:2] == [
        "patch: D, both halves",
        "image: D, both halves",
    ]
    assert charts["g-loss"].series[0]["label"] == "G, all terms"
    titles = [chart.title for chart in charts_of([run, run])]
    assert titles.count("Loss of D: D, both halves") == 1
    # What both have is told once, and says whose each number is.
    signals = [row | {"discriminators": dict.fromkeys("ab", own)} for row in signals
               if (own := row["discriminators"]["image"])]  # fmt: skip
    both = read(write_run(tmp_path / "both", signals, samples=()))
    assert [name for name, _ in both.findings[0][2]] == ["a", "b"]
    assert page_body([both]).count(">a: D(x) is") == page_body([both]).count(">b: D(x) is") == 1


def test_a_log_has_a_page_too():
    games = [trace(**bce_columns(0.9999, 0.0001)), trace(d_loss=0.3, g_loss=1.0)]
    run = log_run("logs/train.log", [(game, diagnose(game)) for game in games[:1]])
    assert (run.name, run.state.status, run.verdicts[0][1]) == ("train.log", None, "severe")
    keys = [chart.key for chart in charts_of([run])]
    assert keys == ["g-loss", "d-loss", "d-outputs"]
