"""BasicSR: `SRGANModel`, `ESRGANModel`, `RealESRGANModel`; G first, then D half by half."""

import torch.nn.functional as F
from torch import Tensor, nn

import counterpoise as cp  # +
from parts import adam, batches, bce, discriminator, upscaler


class SRGANModel:
    def __init__(self) -> None:
        self.net_g, self.net_d = upscaler(), discriminator()
        self.setup_optimizers()

    def setup_optimizers(self) -> None:
        self.optimizer_g, self.optimizer_d = adam(self.net_g), adam(self.net_d)
        networks = self.net_g, self.net_d  # +
        optimizers = self.optimizer_g, self.optimizer_d  # +
        self.balance = cp.Balance(*networks, *optimizers, policy="auto")  # +

    def feed_data(self, gt: Tensor) -> None:
        self.gt, self.lq = gt, F.avg_pool2d(gt, 2)

    def optimize_parameters(self) -> None:
        self.balance.g_step()  # +
        for p in self.net_d.parameters():
            p.requires_grad = False
        self.optimizer_g.zero_grad()
        self.output = self.net_g(self.lq)
        l_g_total = F.l1_loss(self.output, self.gt) + 0.1 * bce(self.net_d(self.output), 1.0)
        l_g_total.backward()
        self.optimizer_g.step()

        self.balance.d_step()  # +
        for p in self.net_d.parameters():
            p.requires_grad = True
        self.optimizer_d.zero_grad()
        bce(self.net_d(self.gt), 1.0).backward()
        bce(self.net_d(self.output.detach()), 0.0).backward()
        self.optimizer_d.step()


def train(turns: int) -> list[nn.Module]:
    model = SRGANModel()
    for gt in batches(turns):
        model.feed_data(gt)
        model.optimize_parameters()
    return [model.net_g, model.net_d]
