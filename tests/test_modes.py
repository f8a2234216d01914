"""Coverage by hand-made samples, with the field's definitions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.metrics.modes import class_coverage, mode_coverage

CENTRES = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])


def test_a_mode_is_covered_by_one_sample_within_three_deviations():
    samples = torch.tensor([[0.0, 2.9], [0.5, 0.0], [10.0, 3.1], [9.0, 10.0]])
    found = mode_coverage(samples, CENTRES, std=1.0)
    assert (found.modes, found.coverage, found.high_quality) == (2, 0.5, 0.75)


def test_all_modes_and_none():
    assert mode_coverage(CENTRES, CENTRES, 0.1).coverage == 1
    far = mode_coverage(CENTRES + 5, CENTRES, 0.1)
    assert (far.modes, far.coverage, far.high_quality) == (0, 0.0, 0.0)


def test_what_is_not_finite_is_of_no_quality():
    samples = torch.tensor([[math.nan, 0.0], [math.inf, 0.0], [0.0, 0.0], [0.0, 0.0]])
    found = mode_coverage(samples, CENTRES, 1.0)
    assert (found.modes, found.high_quality) == (1, 0.5)
    beliefs = torch.tensor([[math.nan, math.nan], [1.0, 0.0]])
    assert class_coverage(beliefs).high_quality == 0.5


@given(st.integers(1, 8), st.integers(0, 1000))
def test_shares_are_shares(count, seed):
    samples = 20 * torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) - 5
    found = mode_coverage(samples, CENTRES, 1.0)
    assert 0 <= found.high_quality <= 1
    assert found.modes <= min(count, len(CENTRES))
    assert found.coverage == found.modes / len(CENTRES)


def test_a_class_needs_its_share_of_certain_samples():
    # 10 classes, 100 samples: a fifth of the fair share is 2 samples.
    beliefs = torch.full((100, 10), 0.01)
    beliefs[:97, 0] = 0.91
    beliefs[97:99, 1] = 0.91
    beliefs[99, 2] = 0.91
    found = class_coverage(beliefs)
    assert (found.modes, found.coverage, found.high_quality) == (2, 0.2, 1.0)
    assert class_coverage(torch.full((100, 10), 0.1)).modes == 0


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="N, D"):
        mode_coverage(torch.zeros(3, 3), CENTRES, 1.0)
    with pytest.raises(ValueError, match="N, K"):
        class_coverage(torch.zeros(3))
