"""Coverage by hand-made samples, with the field's definitions."""

import math

import pytest
import torch

from counterpoise.metrics.modes import class_coverage, mode_coverage

CENTRES = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])


@pytest.mark.parametrize(
    ("samples", "std", "expected"),
    [
        # One sample within three deviations covers a mode.
        ([[0.0, 2.9], [0.5, 0.0], [10.0, 3.1], [9.0, 10.0]], 1.0, (2, 0.5, 0.75)),
        (CENTRES.tolist(), 0.1, (4, 1.0, 1.0)),
        ((CENTRES + 5).tolist(), 0.1, (0, 0.0, 0.0)),
        ([[math.nan, 0.0], [math.inf, 0.0], [0.0, 0.0], [0.0, 0.0]], 1.0, (1, 0.25, 0.5)),
    ],
)
def test_modes_by_hand(samples, std, expected):
    found = mode_coverage(torch.tensor(samples), CENTRES, std)
    assert tuple(found.values()) == expected


def test_a_class_needs_its_share_of_certain_samples():
    # 10 classes, 100 samples: a fifth of the fair share is 2 samples.
    beliefs = torch.full((100, 10), 0.01)
    beliefs[:97, 0] = 0.91
    beliefs[97:99, 1] = 0.91
    beliefs[99, 2] = 0.91
    found = class_coverage(beliefs)
    assert tuple(found.values()) == (2, 0.2, 1.0)
    assert class_coverage(torch.full((100, 10), 0.1))["modes"] == 0
    assert class_coverage(torch.tensor([[math.nan, math.nan], [1.0, 0.0]]))["high_quality"] == 0.5
