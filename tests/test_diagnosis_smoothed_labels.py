"""A D that is certain though its loss is not near 0: of smoothed labels, or by its accuracy."""

import numpy as np
import pytest

from counterpoise.diagnosis.diagnose import diagnose
from trace_helpers import ROWS, bce_columns, found, noise, trace


def smoothed_labels(label, fake, swing=0.01):
    """A D that is asked for `label` on real images and gives it, and its loss."""
    real = np.clip(label + noise(swing), 0.01, 0.99)
    fake = np.clip(fake + noise(0.002, seed=1), 1e-4, 0.9)
    loss = -(label * np.log(real) + (1 - label) * np.log1p(-real)) - np.log1p(-fake)
    return trace(d_real=real, d_fake_before=fake, d_loss=loss, g_loss=4.0)


@pytest.mark.parametrize(
    ("label", "severity"), [(0.8, "warning"), (0.87, "warning"), (0.95, "severe")]
)
def test_a_d_that_is_certain_of_smoothed_labels_is_saturated(label, severity):
    """Its loss does not go down to 0: the label's own entropy is left of it."""
    finding = found(diagnose(smoothed_labels(label, 0.01)), "d-saturated")
    # From means alone it might be a few images that D is wrong about.
    assert finding.severity == severity
    (text,) = [e.text for e in finding.evidence if e.name == "D(x)"]
    assert "as labels of about that ask" in text


def test_smoothed_labels_alone_are_no_certainty():
    for label, fake in ((0.9, 0.15), (0.8, 0.3)):
        assert diagnose(smoothed_labels(label, fake)).healthy
    # Nor is a D(x) below 1 that swings, with a loss that is that of labels of 1.
    real = np.clip(0.75 + noise(0.08), 0.05, 0.95)
    columns = bce_columns(real, 0.02 + noise(0.002, seed=1))
    assert "d-saturated" not in diagnose(trace(**columns)).ids()


def test_certainty_of_smoothed_labels_by_accuracy():
    # The loss is that of labels of 1, as our own rows have it.
    columns = bce_columns(0.8 + noise(0.02), 0.005 + noise(0.001, seed=1))
    assert diagnose(trace(**columns)).healthy
    columns |= {"d_accuracy_real": 1.0, "d_accuracy_fake": 1.0}
    assert found(diagnose(trace(**columns)), "d-saturated").severity == "warning"


def test_a_d_that_is_wrong_about_some_images_is_not_certain_of_smoothed_labels():
    """Logits of N(1.5, 3) and N(-4, 1), in means over a large batch."""
    random = np.random.default_rng(0)
    real, fake = random.normal(1.5, 3, (ROWS, 256)), random.normal(-4, 1, (ROWS, 256))
    columns = {
        "d_real": (1 / (1 + np.exp(-real))).mean(1),
        "d_fake_before": (1 / (1 + np.exp(-fake))).mean(1),
        "d_loss": np.logaddexp(0, -real).mean(1) + np.logaddexp(0, fake).mean(1),
        "g_loss": np.logaddexp(0, -fake).mean(1),
    }
    assert diagnose(trace(**columns)).healthy
    likely = smoothed_labels(0.8, 0.01)
    columns = {name: likely.get(name) for name in likely.columns} | {"d_accuracy": 0.88}
    assert "d-saturated" not in diagnose(trace(**columns)).ids()


def test_a_d_that_is_right_about_all_images_by_a_little_is_a_warning():
    columns = bce_columns(0.7 + noise(0.02), 0.2 + noise(0.02, seed=1))
    columns |= {"d_accuracy_real": 0.998, "d_accuracy_fake": 0.996}
    assert found(diagnose(trace(**columns)), "d-saturated").severity == "warning"
