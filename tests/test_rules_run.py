"""What a training as a whole shows: held-out quality, a policy that holds a network back."""

import gzip
import shutil

import numpy as np
import pytest

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.logs.read import read_log
from counterpoise.run_rows import with_quality
from trace_helpers import bce_columns, found, trace

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
