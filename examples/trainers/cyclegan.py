"""junyanz, `CycleGANModel`: two games with one optimizer for both Ds and one for both Gs; pools."""

import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import counterpoise as cp  # +
from parts import adam, batches, discriminator, translator


class ImagePool:
    def __init__(self) -> None:
        self.images: list[Tensor] = []
        self.random = random.Random(0)  # noqa: S311

    def query(self, images: Tensor) -> Tensor:
        chosen = []
        for image in images.detach():
            if len(self.images) < 16 or self.random.random() < 0.5:
                self.images = [*self.images[-15:], image.clone()]
                chosen.append(image)
            else:
                chosen.append(self.random.choice(self.images))
        return torch.stack(chosen)


class CycleGANModel:
    def __init__(self) -> None:
        self.netG_A, self.netG_B = translator(), translator()
        self.netD_A, self.netD_B = discriminator(), discriminator()
        self.fake_A_pool, self.fake_B_pool = ImagePool(), ImagePool()
        self.optimizer_G = adam(self.netG_A, self.netG_B)
        self.optimizer_D = adam(self.netD_A, self.netD_B)
        networks = [self.netG_A, self.netG_B], {"A": self.netD_A, "B": self.netD_B}  # +
        optimizers = self.optimizer_G, self.optimizer_D  # +
        self.balance = cp.Balance(*networks, *optimizers, policy="auto")  # +

    def backward_D_basic(self, netD: nn.Module, real: Tensor, fake: Tensor) -> None:
        loss_D_real = (netD(real) - 1).square().mean()
        loss_D_fake = netD(fake.detach()).square().mean()
        ((loss_D_real + loss_D_fake) * 0.5).backward()

    def backward_G(self) -> None:
        loss = (self.netD_A(self.fake_B) - 1).square().mean()
        loss = loss + (self.netD_B(self.fake_A) - 1).square().mean()
        cycle = F.l1_loss(self.rec_A, self.real_A) + F.l1_loss(self.rec_B, self.real_B)
        (loss + 10 * cycle).backward()

    def optimize_parameters(self, real_A: Tensor) -> None:
        self.real_A, self.real_B = real_A, real_A.roll(1, 0).sin()
        self.balance.g_step()  # +
        self.fake_B, self.fake_A = self.netG_A(self.real_A), self.netG_B(self.real_B)
        self.rec_A, self.rec_B = self.netG_B(self.fake_B), self.netG_A(self.fake_A)
        for net in (self.netD_A, self.netD_B):
            net.requires_grad_(False)
        self.optimizer_G.zero_grad()
        self.backward_G()
        self.optimizer_G.step()
        self.balance.d_step()  # +
        for net in (self.netD_A, self.netD_B):
            net.requires_grad_(True)
        self.optimizer_D.zero_grad()
        self.backward_D_basic(self.netD_A, self.real_B, self.fake_B_pool.query(self.fake_B))
        self.backward_D_basic(self.netD_B, self.real_A, self.fake_A_pool.query(self.fake_A))
        self.optimizer_D.step()


def train(turns: int) -> list[nn.Module]:
    model = CycleGANModel()
    for image in batches(turns):
        model.optimize_parameters(image)
    return [model.netG_A, model.netG_B, model.netD_A, model.netD_B]
