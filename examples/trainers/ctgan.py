"""CTGAN, SDV: a critic with a gradient penalty over packs of rows, conditions beside the rows."""

import torch
from torch import Tensor, nn

import counterpoise as cp  # +
from parts import adam

PAC, BATCH, NOISE, COLUMNS, CONDITIONS = 4, 16, 4, 5, 3


class Discriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pacdim = (COLUMNS + CONDITIONS) * PAC
        self.seq = nn.Sequential(nn.Linear(self.pacdim, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))

    def calc_gradient_penalty(self, real_data: Tensor, fake_data: Tensor) -> Tensor:
        alpha = torch.rand(real_data.size(0) // PAC, 1, 1)
        alpha = alpha.repeat(1, PAC, real_data.size(1)).view(-1, real_data.size(1))
        interpolates = alpha * real_data + (1 - alpha) * fake_data
        (gradients,) = torch.autograd.grad(
            self(interpolates).sum(), interpolates, create_graph=True
        )
        return ((gradients.view(-1, self.pacdim).norm(2, dim=1) - 1) ** 2).mean() * 10

    def forward(self, rows: Tensor) -> Tensor:
        return self.seq(rows.view(-1, self.pacdim))


def train(turns: int) -> list[nn.Module]:
    generator = nn.Sequential(nn.Linear(NOISE + CONDITIONS, 16), nn.ReLU(), nn.Linear(16, COLUMNS))
    discriminator = Discriminator()
    optimizerG, optimizerD = adam(generator), adam(discriminator)
    balance = cp.Balance(generator, discriminator, optimizerG, optimizerD, policy="auto")  # +
    for _ in range(turns):
        c = torch.eye(CONDITIONS)[torch.randint(CONDITIONS, (BATCH,))]
        real = torch.randn(BATCH, COLUMNS).sin() + c[:, :1]

        balance.d_step()  # +
        fake = generator(torch.cat([torch.randn(BATCH, NOISE), c], dim=1)).tanh()
        real_cat, fake_cat = torch.cat([real, c], dim=1), torch.cat([fake, c], dim=1)
        y_fake, y_real = discriminator(fake_cat), discriminator(real_cat)
        pen = discriminator.calc_gradient_penalty(real_cat, fake_cat)
        loss_d = -(y_real.mean() - y_fake.mean())
        optimizerD.zero_grad(set_to_none=False)
        pen.backward(retain_graph=True)
        loss_d.backward()
        optimizerD.step()

        balance.g_step()  # +
        fake = generator(torch.cat([torch.randn(BATCH, NOISE), c], dim=1)).tanh()
        y_fake = discriminator(torch.cat([fake, c], dim=1))
        optimizerG.zero_grad(set_to_none=False)
        (-y_fake.mean()).backward()
        optimizerG.step()
    return [generator, discriminator]
