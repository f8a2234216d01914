"""What a training as a whole shows: held-out quality, a policy that holds a network back."""

import gzip
import io
import shutil

import numpy as np
import pytest

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.logs.read import read_log
from counterpoise.run_rows import with_quality
from trace_helpers import bce_columns, found, noise, trace

LEVEL = bce_columns(0.6, 0.4)


def evaluated(*distances):
    """A training of 60 rows whose held-out distance was measured after every tenth."""
    level = trace(**LEVEL)
    rows = enumerate(distances, start=1)
    return with_quality(
        level, [{"step": 1000 * n, "sliced_wasserstein": float(d)} for n, d in rows]
    )


@pytest.mark.parametrize(
    ("distances", "severity"),
    [
        ((60, 55, 50, 47, 45, 44), None),
        ((60, 50, 45, 47, 46, 50), None),
        ((60, 50, 45, 47, 46, 70), "warning"),
        ((60, 50, 45, 60, 70, 80), "severe"),
        # Around 0, as an estimate without bias is.
        ((9e-4, -2e-4, 2e-4, 1e-4, 2e-4, 2e-4), None),
        # Recovered.
        ((60, 50, 45, 60, 70, 44), None),
    ],
)
def test_quality_that_falls(distances, severity):
    diagnosis = diagnose(evaluated(*distances))
    if severity is None:
        assert diagnosis.healthy
    else:
        finding = found(diagnosis, "quality-falls")
        assert finding.severity == severity
        assert finding.first_step == (30 if 45 in distances else 0) * 100
        assert not diagnosis.healthy


def test_two_evaluations_show_no_trend_and_no_health_where_the_second_is_worse():
    assert diagnose(evaluated(60, 55)).healthy
    assert diagnose(evaluated(40, 95)).ids() == {"not-enough-evidence"}


IMPROVES, FALLS = (19.0, 24.0, 27.0, 28.6, 28.8, 29.0), (24.0, 27.0, 28.6, 22.0, 18.0, 17.1)
BELOW = "2026-01-01 INFO:\n\t # psnr: {:.2f}\tBest: 28.64 @ 5 iter\n"


def log_of(measures, *, beside="", below=""):
    """Lines of a training in balance with what is measured, beside losses or below them."""
    columns, log = bce_columns(0.6 + noise(0.03), 0.4 + noise(0.03, seed=1)), ""
    for n in range(60):
        losses = " ".join(f"{name}: {values[n]:.4f}" for name, values in columns.items())
        measured = measures[n // 10]
        log += f"step: {n * 100} {losses} {beside.format(measured, n)}\n"
        log += below.format(measured) if n % 10 == 9 else ""
    return log


@pytest.mark.parametrize(
    "where",
    [
        {"beside": "val_psnr={:.2f}"},
        {"beside": "PSNR: {:.2f}"},
        {"below": BELOW},
        {"below": "[Validation] psnr={:.2f}, d_loss=3\n"},
    ],
)
@pytest.mark.parametrize("measures", [IMPROVES, FALLS])
def test_psnr_that_falls(where, measures):
    diagnosis = diagnose(read_log(io.StringIO(log_of(measures, **where)))[0])
    assert ("quality-falls" in diagnosis.ids()) == (measures is FALLS)
    assert diagnosis.healthy == (measures is IMPROVES)


def test_the_psnr_that_an_adversarial_term_costs_is_no_fault():
    log = log_of((29.0, 28.0, 27.3, 27.0, 26.8, 26.9), beside="psnr: {:.2f}")
    assert diagnose(read_log(io.StringIO(log))[0]).healthy


@pytest.mark.parametrize("scatter", [2.0, 6.0])
def test_psnr_of_single_batches_is_noisy_and_no_fault(scatter):
    log = log_of(IMPROVES, beside="")
    noisy = 26 + noise(scatter, seed=2) - np.linspace(0, scatter, 60)
    lines = (f"{line} psnr: {at:.2f}\n" for line, at in zip(log.splitlines(), noisy, strict=True))
    assert diagnose(read_log(io.StringIO("".join(lines)))[0]).healthy


def test_psnr_in_the_line_of_every_step_is_of_training_images():
    log = log_of(FALLS, beside="psnr: {:.2f}").replace("step: ", "epoch: 1 step: ")
    assert found(diagnose(read_log(io.StringIO(log))[0]), "quality-falls").severity == "note"


def test_each_measure_is_read_and_no_diversity_for_one():
    log = "epoch | d_loss | g_loss | div_lpips | lpips | FID\n"
    rng = np.random.default_rng(0)
    for n in range(30):
        d_loss, g_loss = 1.2 + 0.1 * rng.random(), 0.9 + 0.1 * rng.random()
        fid = 60 + max(0, n - 10) * 9
        log += f"{n} | {d_loss:.3f} | {g_loss:.3f} | {0.4 - n / 80:.3f} | 0.3 | {fid}\n"
    (trace,) = read_log(io.StringIO(log))
    assert trace.columns["held_out_lpips"][-1] == 0.3
    assert found(diagnose(trace), "quality-falls").severity == "severe"


@pytest.mark.parametrize("measured", ["nan", "inf"])
def test_no_evaluation_yet_is_no_loss_that_is_nan(measured):
    log = log_of(IMPROVES, beside=f"val_psnr: {measured}")
    assert diagnose(read_log(io.StringIO(log))[0]).healthy


@pytest.mark.parametrize("name", ["l_pix", "l1_loss", "G_L1", "pixel_loss", "rec_loss"])
def test_a_content_loss_that_rises_several_fold_is_not_healthy(name):
    log = log_of((0.02, 0.02, 0.03, 0.05, 0.08, 0.1), beside=name + ": {:.4f}")
    assert not diagnose(read_log(io.StringIO(log))[0]).healthy


@pytest.mark.parametrize(
    ("scale", "share", "severity"),
    [(1.0, 1.0, None), (0.25, 0.3, None), (0.25, 0.8, "warning"), (0.03, 0.8, "severe")],
)
@pytest.mark.parametrize("network", ["g", "d"])
def test_a_policy_that_holds_a_network_back(network, scale, share, severity):
    column = {f"{network}_learning_rate_scale": lambda p: np.where(p < share, scale, 1.0)}
    diagnosis = diagnose(trace(**LEVEL, **column, policy="auto"))
    severities = [f.severity for f in diagnosis.findings if f.id == "held-back"]
    assert severities == ([] if severity is None else [severity])
    assert diagnosis.healthy == (severity is None)


def test_a_d_that_is_worse_than_chance_is_not_healthy():
    assert not diagnose(trace(**bce_columns(0.35, 0.6))).healthy


@pytest.mark.parametrize(
    ("run", "findings"),
    [
        ("none", {"d-too-weak"}),
        ("threshold", {"d-too-weak"}),
        ("auto", {"quality-falls", "held-back", "content-term-drowned"}),
    ],
)
def test_the_recorded_trainings_at_real_size(run, findings, shared_data, tmp_path):
    """None of them is healthy, and each is told what happened."""
    folder = tmp_path / "run"
    shutil.copytree(
        shared_data / "runs" / f"enet-pat-h200-{run}", folder, copy_function=shutil.copy
    )
    folder.chmod(0o755)
    packed = folder / "signals.jsonl.gz"
    (folder / "signals.jsonl").write_bytes(gzip.decompress(packed.read_bytes()))
    (judged,) = read_log(folder)
    assert {f.id for f in diagnose(judged).problems} == findings
