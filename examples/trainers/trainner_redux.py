"""traiNNer-redux, `SRModel`: two GradScalers, accumulation, gradients cleared after the step."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

import counterpoise as cp  # +
from parts import adam, batches, bce, discriminator, upscaler


class SRModel:
    accum_iters = 2

    def __init__(self) -> None:
        self.net_g, self.net_d = upscaler(), discriminator()
        self.scaler_g, self.scaler_d = (torch.amp.GradScaler("cpu") for _ in range(2))
        self.optimizer_g, self.optimizer_d = adam(self.net_g), adam(self.net_d)
        networks = self.net_g, self.net_d  # +
        optimizers = self.optimizer_g, self.optimizer_d  # +
        options = {"policy": "auto", "grad_scaler": self.scaler_g}  # +
        self.balance = cp.Balance(*networks, *optimizers, **options)  # +

    def optimize_parameters(self, gt: Tensor, apply_gradient: bool) -> None:
        lq = F.avg_pool2d(gt, 2)
        self.balance.g_step()  # +
        for p in self.net_d.parameters():
            p.requires_grad = False
        with torch.autocast("cpu", torch.bfloat16):
            output = self.net_g(lq)
            l_g_total = F.l1_loss(output, gt) + 0.1 * bce(self.net_d(output), 1.0)
            l_g_total = l_g_total / self.accum_iters
        self.scaler_g.scale(l_g_total).backward()
        if apply_gradient:
            self.scaler_g.unscale_(self.optimizer_g)
            clip_grad_norm_(self.net_g.parameters(), 1.0)
            self.scaler_g.step(self.optimizer_g)
            self.scaler_g.update()
            self.optimizer_g.zero_grad()

        self.balance.d_step()  # +
        for p in self.net_d.parameters():
            p.requires_grad = True
        with torch.autocast("cpu", torch.bfloat16):
            l_d_real = bce(self.net_d(gt), 1.0)
            l_d_fake = bce(self.net_d(output.detach()), 0.0)
        self.scaler_d.scale(l_d_real / self.accum_iters).backward()
        self.scaler_d.scale(l_d_fake / self.accum_iters).backward()
        if apply_gradient:
            self.scaler_d.unscale_(self.optimizer_d)
            clip_grad_norm_(self.net_d.parameters(), 1.0)
            self.scaler_d.step(self.optimizer_d)
            self.scaler_d.update()
            self.optimizer_d.zero_grad()


def train(turns: int) -> list[nn.Module]:
    model = SRModel()
    for count, gt in enumerate(batches(turns), 1):
        model.optimize_parameters(gt, apply_gradient=count % model.accum_iters == 0)
    return [model.net_g, model.net_d]
