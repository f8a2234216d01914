import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.sensors.discriminator import auc

LOGITS = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12)


@given(LOGITS, LOGITS)
def test_it_is_the_share_of_pairs_in_the_right_order(real, fake):
    wins = sum((r > f) + 0.5 * (r == f) for r in real for f in fake)
    value = auc(torch.tensor(real).reshape(-1, 1), torch.tensor(fake).reshape(-1, 1))
    assert value == pytest.approx(wins / (len(real) * len(fake)), abs=1e-6)


def test_maps_count_as_their_means_and_nan_is_not_hidden():
    real, fake = torch.randn(5, 1, 3, 3), torch.randn(6, 1, 3, 3)
    assert auc(real, fake) == auc(real.mean((2, 3)), fake.mean((2, 3)))
    broken = torch.tensor([[1.0], [math.nan]], requires_grad=True)
    assert math.isnan(auc(broken, torch.zeros(2, 1)))
    assert math.isnan(auc(torch.zeros(2, 1), broken))
