"""The Frechet distance against closed forms and scipy's matrix square root."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from counterpoise.metrics.frechet import frechet_distance


def features(seed, rows=200, columns=5, shift=0.0):
    draw = torch.Generator().manual_seed(seed)
    mixing = torch.randn(columns, columns, generator=draw)
    return torch.randn(rows, columns, generator=draw) @ mixing + shift


def reference(a, b):
    a, b = a.double().numpy(), b.double().numpy()
    covariances = np.cov(a.T), np.cov(b.T)
    cross = sqrtm(covariances[0] @ covariances[1]).real
    means = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return means + np.trace(covariances[0] + covariances[1] - 2 * cross)


@pytest.mark.parametrize("seed", range(3))
def test_against_scipy_symmetric_and_blind_to_rotation(seed):
    a, b = features(seed), features(seed + 100, rows=150, shift=0.5)
    distance = frechet_distance(a, b)
    assert distance == pytest.approx(reference(a, b), rel=1e-6)
    assert frechet_distance(b, a) == pytest.approx(distance, rel=1e-6)
    rotation, _ = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(seed)))
    assert frechet_distance(a @ rotation, b @ rotation) == pytest.approx(distance, rel=1e-4)


def test_a_shift_alone_one_dimension_and_fewer_rows_than_dimensions():
    a = features(1)
    assert frechet_distance(a + 2.0, a) == pytest.approx(4.0 * a.shape[1], rel=1e-4)
    line = torch.tensor([[0.0], [2.0]])
    assert frechet_distance(3 * line, line) == pytest.approx((3 - 1) ** 2 + (3 - 1) ** 2 * 2)
    few = features(3, rows=4, columns=20)
    assert frechet_distance(few, few) == pytest.approx(0.0, abs=1e-6)
    assert frechet_distance(few, features(4, rows=4, columns=20)) > 0


def test_what_has_no_distance():
    a = features(1)
    broken = a.clone()
    broken[0, 0] = math.nan
    assert math.isnan(frechet_distance(broken, a))
    with pytest.raises(ValueError, match="covariance"):
        frechet_distance(torch.zeros(1, 3), torch.zeros(5, 3))
