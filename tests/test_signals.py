import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.records import Readings
from counterpoise.sensors.discriminator import (
    SATURATED_LOGIT,
    auc,
    discriminator_statistics,
    saturation_readings,
    signals_from_statistics,
)

AUC = 6


def statistics(real, fake, threshold=0.0):
    return discriminator_statistics(
        torch.tensor(0.25), torch.tensor(0.75), real, fake, torch.sigmoid, threshold
    )


def test_statistics_against_torch():
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(8, 1, generator=generator) + 1
    fake = torch.randn(8, 1, generator=generator) - 1
    signals = signals_from_statistics(3, statistics(real, fake).tolist())
    assert signals.step == 3
    assert (signals.d_loss_real, signals.d_loss_fake) == (0.25, 0.75)
    assert signals.d_real == pytest.approx(real.sigmoid().mean().item())
    assert signals.d_accuracy_real == (real > 0).float().mean().item()
    assert signals.d_accuracy_fake == (fake <= 0).float().mean().item()
    assert signals.fake_logit_mean == pytest.approx(fake.mean().item())
    assert signals.real_logit_std == pytest.approx(real.std(correction=0).item(), rel=1e-4)


def test_a_map_of_logits_counts_as_its_mean():
    maps = torch.arange(8.0).reshape(2, 1, 2, 2)
    signals = signals_from_statistics(1, statistics(maps, -maps).tolist())
    assert signals.real_logit_mean == pytest.approx(3.5)
    assert signals.real_logit_std == pytest.approx(2.0)


def test_mean_over_equal_shares_is_the_whole_batch():
    real, fake = torch.randn(8, 1), torch.randn(8, 1)
    whole = statistics(real, fake)
    halves = torch.stack([statistics(real[:4], fake[:4]), statistics(real[4:], fake[4:])])
    # All but the AUC, which compares pairs, here those within a half.
    others = [number for number in range(len(whole)) if number != AUC]
    torch.testing.assert_close(halves.mean(0)[others], whole[others])


def test_constant_logits_have_no_spread_and_nan_stays():
    constant = torch.full((4, 1), 0.1)
    signals = signals_from_statistics(1, statistics(constant, constant).tolist())
    assert signals.real_logit_std == pytest.approx(0, abs=1e-3)
    broken = signals_from_statistics(1, statistics(constant * math.nan, constant).tolist())
    assert math.isnan(broken.real_logit_std)


def test_auc_equilibrium_and_readings_are_handed_on():
    real, fake = torch.tensor([[2.0], [0.0]]), torch.tensor([[1.0], [0.0]])
    latest = Readings(g_gradient_norm=3.0)
    values = statistics(real, fake).tolist()
    signals = signals_from_statistics(1, values, d_equilibrium_loss=0.5, readings=latest)
    # Of the four pairs two are right, and one is a tie.
    assert signals.auc == 0.625
    assert signals.d_equilibrium_loss == 0.5
    assert signals.readings is latest


def test_saturation_is_where_the_sigmoid_is_flat():
    logits = torch.tensor(SATURATED_LOGIT)
    assert (logits.sigmoid() * (1 - logits.sigmoid())).item() == pytest.approx(0.01, rel=1e-4)
    real = torch.tensor([[[5.0, 1.0], [-5.0, 4.5]], [[1.0, 1.0], [1.0, 1.0]]])
    readings = saturation_readings(statistics(real, torch.full((2, 1), -9.0)).tolist())
    # Every value of a map counts.
    assert readings.d_saturation_real == 0.25
    assert readings.d_saturation_fake == 1
    assert set(readings.read()) == {"d_saturation_real", "d_saturation_fake"}


def test_statistics_where_the_logits_are_equal_those_of_the_host(monkeypatch):
    """The path of several GPUs, walked on a CPU."""
    from counterpoise.game.objective import GameObjective
    from counterpoise.sensors import discriminator

    real, fake = torch.randn(9, 1, 2, 3) * 4 + 1, torch.randn(9, 1, 2, 3) * 4
    fake[0] = real[0]
    for name in ("non-saturating", "relativistic-average", "wgan"):
        on_host = GameObjective(name).statistics(real, fake)
        ranked = discriminator._auc_there(*map(discriminator.image_means, (real, fake)))
        assert ranked.item() == pytest.approx(on_host[6].item())
    fake[1] = math.nan
    assert discriminator._auc_there(real.flatten(), fake.flatten()).isnan()


LOGITS = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12)


@given(LOGITS, LOGITS)
def test_the_auc_is_the_share_of_pairs_in_the_right_order(real, fake):
    wins = sum((r > f) + 0.5 * (r == f) for r in real for f in fake)
    value = auc(torch.tensor(real).reshape(-1, 1), torch.tensor(fake).reshape(-1, 1))
    assert value == pytest.approx(wins / (len(real) * len(fake)), abs=1e-6)
