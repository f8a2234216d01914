"""VITS, `train.py`, and what follows it (RVC, so-vits-svc): one GradScaler, clipping by value."""

import torch
import torch.nn.functional as F
from torch import nn

import counterpoise as cp  # +
from parts import Waves, adam


def train(turns: int) -> list[nn.Module]:
    net_g = nn.Sequential(nn.Conv1d(4, 8, 3, padding=1), nn.Tanh(), nn.Conv1d(8, 1, 3, padding=1))
    net_d = Waves(period=4)
    optim_g, optim_d = adam(net_g), adam(net_d)
    scaler = torch.amp.GradScaler("cpu")
    networks = net_g, net_d  # +
    optimizers = optim_g, optim_d  # +
    balance = cp.Balance(*networks, *optimizers, policy="auto", grad_scaler=scaler)  # +
    for _ in range(turns):
        spec = torch.randn(8, 4, 64)
        y = torch.sin(3 * spec[:, :1])
        with torch.autocast("cpu", torch.bfloat16):
            y_hat = net_g(spec)
            balance.d_step()  # +
            y_d_hat_r, y_d_hat_g, _, _ = net_d(y, y_hat.detach())
            with torch.autocast("cpu", enabled=False):
                loss_disc = sum(((1 - each.float()) ** 2).mean() for each in y_d_hat_r)
                loss_disc = loss_disc + sum((each.float() ** 2).mean() for each in y_d_hat_g)
        optim_d.zero_grad()
        scaler.scale(loss_disc).backward()
        scaler.unscale_(optim_d)
        nn.utils.clip_grad_value_(net_d.parameters(), 1.0)
        scaler.step(optim_d)

        balance.g_step()  # +
        with torch.autocast("cpu", torch.bfloat16):
            _, y_d_hat_g, fmap_r, fmap_g = net_d(y, y_hat)
            with torch.autocast("cpu", enabled=False):
                loss_fm = sum(
                    (real.float().detach() - fake.float()).abs().mean()
                    for real, fake in zip(fmap_r, fmap_g, strict=True)
                )
                loss_gen = sum(((1 - each.float()) ** 2).mean() for each in y_d_hat_g)
                loss_gen_all = loss_gen + 2 * loss_fm + 45 * F.l1_loss(y_hat.float(), y)
        optim_g.zero_grad()
        scaler.scale(loss_gen_all).backward()
        scaler.unscale_(optim_g)
        nn.utils.clip_grad_value_(net_g.parameters(), 1.0)
        scaler.step(optim_g)
        scaler.update()
    return [net_g, net_d]
