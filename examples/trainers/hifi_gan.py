"""HiFi-GAN, `train.py`, and what follows it (BigVGAN, Vocos): two modules, one optimizer of D's."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import counterpoise as cp  # +
from parts import Waves, adam


def discriminator_loss(on_real: list[Tensor], on_fake: list[Tensor]) -> Tensor:
    pairs = zip(on_real, on_fake, strict=True)
    return sum(((1 - real) ** 2).mean() + (fake**2).mean() for real, fake in pairs)


def feature_loss(of_real: list[Tensor], of_fake: list[Tensor]) -> Tensor:
    return 2 * sum((real - fake).abs().mean() for real, fake in zip(of_real, of_fake, strict=True))


def train(turns: int) -> list[nn.Module]:
    generator = nn.Sequential(
        nn.Conv1d(4, 8, 3, padding=1), nn.Tanh(), nn.Conv1d(8, 1, 3, padding=1)
    )
    mpd, msd = Waves(period=2), Waves(period=4)
    optim_g, optim_d = adam(generator), adam(mpd, msd)
    balance = cp.Balance(generator, {"mpd": mpd, "msd": msd}, optim_g, optim_d, policy="auto")  # +
    for _ in range(turns):
        x = torch.randn(8, 4, 64)
        y = torch.sin(3 * x[:, :1]).cumsum(2) / 8
        y_g_hat = generator(x)

        balance.d_step()  # +
        optim_d.zero_grad()
        y_df_hat_r, y_df_hat_g, _, _ = mpd(y, y_g_hat.detach())
        y_ds_hat_r, y_ds_hat_g, _, _ = msd(y, y_g_hat.detach())
        loss_disc_all = discriminator_loss(y_df_hat_r, y_df_hat_g)
        loss_disc_all = loss_disc_all + discriminator_loss(y_ds_hat_r, y_ds_hat_g)
        loss_disc_all.backward()
        optim_d.step()

        balance.g_step()  # +
        optim_g.zero_grad()
        loss_gen_all = 45 * F.l1_loss(y_g_hat, y)
        for d in (mpd, msd):
            _, y_d_hat_g, fmap_r, fmap_g = d(y, y_g_hat)
            loss_gen_all = loss_gen_all + sum(((1 - each) ** 2).mean() for each in y_d_hat_g)
            loss_gen_all = loss_gen_all + feature_loss(fmap_r, fmap_g)
        loss_gen_all.backward()
        optim_g.step()
    return [generator, mpd, msd]
