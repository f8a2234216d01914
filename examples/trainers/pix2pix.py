"""junyanz, `Pix2PixModel`: D is told the input beside the output, and is frozen in G's part."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import counterpoise as cp  # +
from parts import adam, batches, bce, discriminator, translator


class Pix2PixModel:
    def __init__(self) -> None:
        self.netG, self.netD = translator(), discriminator(channels=6)
        self.optimizer_G, self.optimizer_D = adam(self.netG), adam(self.netD)
        networks = self.netG, self.netD  # +
        optimizers = self.optimizer_G, self.optimizer_D  # +
        self.balance = cp.Balance(*networks, *optimizers, policy="auto")  # +

    def set_input(self, image: Tensor) -> None:
        self.real_A, self.real_B = image, image.flip(3).sin()

    def backward_D(self) -> None:
        pred_fake = self.netD(torch.cat((self.real_A, self.fake_B), 1).detach())
        pred_real = self.netD(torch.cat((self.real_A, self.real_B), 1))
        ((bce(pred_fake, 0.0) + bce(pred_real, 1.0)) * 0.5).backward()

    def backward_G(self) -> None:
        pred_fake = self.netD(torch.cat((self.real_A, self.fake_B), 1))
        (bce(pred_fake, 1.0) + 100 * F.l1_loss(self.fake_B, self.real_B)).backward()

    def optimize_parameters(self) -> None:
        self.fake_B = self.netG(self.real_A)
        self.balance.d_step()  # +
        self.netD.requires_grad_(True)
        self.optimizer_D.zero_grad()
        self.backward_D()
        self.optimizer_D.step()
        self.balance.g_step()  # +
        self.netD.requires_grad_(False)
        self.optimizer_G.zero_grad()
        self.backward_G()
        self.optimizer_G.step()


def train(turns: int) -> list[nn.Module]:
    model = Pix2PixModel()
    for image in batches(turns):
        model.set_input(image)
        model.optimize_parameters()
    return [model.netG, model.netD]
