import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.game.objective import GameObjective
from counterpoise.records import Signals
from counterpoise.sensors.discriminator import SATURATED_LOGIT, auc, numbers_of

AUC = 6
BCE = GameObjective("non-saturating")


def signals_of(real, fake):
    numbers, _ = numbers_of(BCE.statistics(real, fake))
    return Signals(1, **numbers)


def test_statistics_against_torch():
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(8, 1, generator=generator) + 1
    fake = torch.randn(8, 1, generator=generator) - 1
    signals = signals_of(real, fake)
    losses = (F.softplus(-real).mean().item(), F.softplus(fake).mean().item())
    assert (signals.d_loss_real, signals.d_loss_fake) == pytest.approx(losses)
    assert signals.d_real == pytest.approx(real.sigmoid().mean().item())
    assert signals.d_accuracy_real == (real > 0).float().mean().item()
    assert signals.d_accuracy_fake == (fake <= 0).float().mean().item()
    assert signals.fake_logit_mean == pytest.approx(fake.mean().item())
    assert signals.real_logit_std == pytest.approx(real.std(correction=0).item(), rel=1e-4)


def test_a_map_of_logits_counts_as_its_mean():
    maps = torch.arange(8.0).reshape(2, 1, 2, 2)
    signals = signals_of(maps, -maps)
    assert signals.real_logit_mean == pytest.approx(3.5)
    assert signals.real_logit_std == pytest.approx(2.0)


def test_mean_over_equal_shares_is_the_whole_batch():
    real, fake = torch.randn(8, 1), torch.randn(8, 1)
    whole = BCE.statistics(real, fake)
    halves = torch.stack([BCE.statistics(real[k::2], fake[k::2]) for k in range(2)])
    # All but the AUC, which compares pairs, here those within a half.
    others = [number for number in range(len(whole)) if number != AUC]
    torch.testing.assert_close(halves.mean(0)[others], whole[others])


def test_constant_logits_have_no_spread_and_nan_stays():
    constant = torch.full((4, 1), 0.1)
    signals = signals_of(constant, constant)
    assert signals.real_logit_std == pytest.approx(0, abs=1e-3)
    broken = signals_of(constant * math.nan, constant)
    assert math.isnan(broken.real_logit_std)


def test_saturation_is_where_the_sigmoid_is_flat():
    logits = torch.tensor(SATURATED_LOGIT)
    assert (logits.sigmoid() * (1 - logits.sigmoid())).item() == pytest.approx(0.01, rel=1e-4)
    real = torch.tensor([[[5.0, 1.0], [-5.0, 4.5]], [[1.0, 1.0], [1.0, 1.0]]])
    _, readings = numbers_of(BCE.statistics(real, torch.full((2, 1), -9.0)))
    # Every value of a map counts.
    assert readings.d_saturation_real == 0.25
    assert readings.d_saturation_fake == 1
    assert set(readings.read()) == {"d_saturation_real", "d_saturation_fake"}


LOGITS = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12)


@given(LOGITS, LOGITS)
def test_the_auc_is_the_share_of_pairs_in_the_right_order(real, fake):
    wins = sum((r > f) + 0.5 * (r == f) for r in real for f in fake)
    value = auc(torch.tensor(real).reshape(-1, 1), torch.tensor(fake).reshape(-1, 1))
    assert value == pytest.approx(wins / (len(real) * len(fake)), abs=1e-6)
