"""lucidrains' lightweight-gan and stylegan2-pytorch: accumulation, D through an augmenting wrapper.

Their hinge has the other sign: D is low on real images, which is read from its loss.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import counterpoise as cp  # +
from parts import NOISE, adam, batches, discriminator, generator


class AugWrapper(nn.Module):
    def __init__(self, D: nn.Module) -> None:
        super().__init__()
        self.D = D

    def forward(self, images: Tensor, detach: bool = False) -> tuple[Tensor, Tensor]:
        images = images.detach() if detach else images
        return self.D(images.flip(3)), images.new_zeros(())


class Trainer:
    gradient_accumulate_every = 2

    def __init__(self) -> None:
        self.G, self.D, self.steps = generator(), discriminator(), 0
        self.D_aug = AugWrapper(self.D)
        self.G_opt, self.D_opt = adam(self.G), adam(self.D)
        self.balance = cp.Balance(self.G, self.D, self.G_opt, self.D_opt, policy="auto")  # +

    def train(self, image_batch: Tensor) -> None:
        self.balance.d_step()  # +
        self.D_opt.zero_grad()
        for images in image_batch.chunk(self.gradient_accumulate_every):
            with torch.no_grad():
                generated_images = self.G(torch.randn(len(images), NOISE))
            fake_output, _ = self.D_aug(generated_images, detach=True)
            images = images.clone().requires_grad_()
            real_output, _ = self.D_aug(images)
            disc_loss = (F.relu(1 + real_output) + F.relu(1 - fake_output)).mean()
            if self.steps % 4 == 0:
                (slope,) = torch.autograd.grad(real_output.sum(), images, create_graph=True)
                disc_loss = disc_loss + 10 * (slope.flatten(1).norm(2, dim=1) ** 2).mean()
            (disc_loss / self.gradient_accumulate_every).backward()
        self.D_opt.step()

        self.balance.g_step()  # +
        self.G_opt.zero_grad()
        for images in image_batch.chunk(self.gradient_accumulate_every):
            fake_output, _ = self.D_aug(self.G(torch.randn(len(images), NOISE)))
            (fake_output.mean() / self.gradient_accumulate_every).backward()
        self.G_opt.step()
        self.steps += 1


def train(turns: int) -> list[nn.Module]:
    trainer = Trainer()
    for images in batches(turns):
        trainer.train(images)
    return [trainer.G, trainer.D]
