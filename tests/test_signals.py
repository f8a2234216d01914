import math

import pytest
import torch

from counterpoise.balance.signals import discriminator_statistics, signals_from_statistics


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
    torch.testing.assert_close(halves.mean(0), whole)


def test_constant_logits_have_no_spread_and_nan_stays():
    constant = torch.full((4, 1), 0.1)
    signals = signals_from_statistics(1, statistics(constant, constant).tolist())
    assert signals.real_logit_std == pytest.approx(0, abs=1e-3)
    broken = signals_from_statistics(1, statistics(constant * math.nan, constant).tolist())
    assert math.isnan(broken.real_logit_std)
