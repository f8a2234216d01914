"""neosr, `image`: both backward passes in `closure`, then both steps; D judges in eval mode.

Its public version computes the term of G under `torch.inference_mode()`: G gets no gradient, and
`check=True` says so (`adversarial-without-gradient`). Here it has one.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import counterpoise as cp  # +
from parts import adam, batches, bce, discriminator, upscaler


class Image:
    def __init__(self) -> None:
        self.net_g, self.net_d = upscaler(), discriminator()
        self.gradscaler_g, self.gradscaler_d = (torch.amp.GradScaler("cpu") for _ in range(2))
        self.optimizer_g, self.optimizer_d = adam(self.net_g), adam(self.net_d)
        networks = self.net_g, self.net_d  # +
        optimizers = self.optimizer_g, self.optimizer_d  # +
        options = {"policy": "auto", "grad_scaler": self.gradscaler_g}  # +
        self.balance = cp.Balance(*networks, *optimizers, **options)  # +

    def closure(self, gt: Tensor) -> None:
        self.balance.g_step()  # +
        for p in self.net_d.parameters():
            p.requires_grad = False
        output = self.net_g(F.avg_pool2d(gt, 2))
        self.net_d.eval()
        l_g_total = F.l1_loss(output, gt) + 0.1 * bce(self.net_d(output), 1.0)
        self.net_d.train()
        self.gradscaler_g.scale(l_g_total).backward()

        self.balance.d_step()  # +
        for p in self.net_d.parameters():
            p.requires_grad = True
        self.net_d.eval()
        l_d_real = bce(self.net_d(gt), 1.0)
        l_d_fake = bce(self.net_d(output.detach()), 0.0)
        self.net_d.train()
        self.gradscaler_d.scale(l_d_real).backward()
        self.gradscaler_d.scale(l_d_fake).backward()

    def optimize_parameters(self, gt: Tensor) -> None:
        self.closure(gt)
        self.gradscaler_g.step(self.optimizer_g)
        self.gradscaler_d.step(self.optimizer_d)
        self.gradscaler_g.update()
        self.gradscaler_d.update()
        self.optimizer_g.zero_grad(set_to_none=True)
        self.optimizer_d.zero_grad(set_to_none=True)


def train(turns: int) -> list[nn.Module]:
    model = Image()
    for gt in batches(turns):
        model.optimize_parameters(gt)
    return [model.net_g, model.net_d]
