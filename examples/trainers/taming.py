"""taming-transformers, LDM: a VQGAN in Lightning's automatic steps, by `optimizer_idx`."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import counterpoise as cp  # +
from parts import adam, batches, discriminator, translator


class VQModel(nn.Module):
    disc_start = 5

    def __init__(self) -> None:
        super().__init__()
        self.autoencoder, self.discriminator = translator(), discriminator()
        self.global_step = 0

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        opt_ae, opt_disc = adam(self.autoencoder), adam(self.discriminator)
        networks = self.autoencoder, self.discriminator  # +
        optimizers = opt_ae, opt_disc  # +
        self.balance = cp.Balance(*networks, *optimizers, policy="auto")  # +
        return [opt_ae, opt_disc]

    def adaptive_weight(self, nll_loss: Tensor, g_loss: Tensor) -> Tensor:
        last_layer = self.autoencoder[-1].weight
        (of_nll,) = torch.autograd.grad(nll_loss, last_layer, retain_graph=True)
        (of_g,) = torch.autograd.grad(g_loss, last_layer, retain_graph=True)
        return (of_nll.norm() / (of_g.norm() + 1e-4)).clamp(0, 1e4).detach()

    def training_step(self, x: Tensor, optimizer_idx: int) -> Tensor:
        (self.balance.g_step if optimizer_idx == 0 else self.balance.d_step)()  # +
        xrec = self.autoencoder(x)
        disc_factor = float(self.global_step >= self.disc_start)
        if optimizer_idx == 0:
            nll_loss = F.l1_loss(xrec, x)
            g_loss = -self.discriminator(xrec).mean()
            return nll_loss + self.adaptive_weight(nll_loss, g_loss) * disc_factor * g_loss
        logits_real = self.discriminator(x.detach())
        logits_fake = self.discriminator(xrec.detach())
        return disc_factor * 0.5 * (F.relu(1 - logits_real) + F.relu(1 + logits_fake)).mean()


def train(turns: int) -> list[nn.Module]:
    """What Lightning does with a module of two optimizers."""
    module = VQModel()
    optimizers = module.configure_optimizers()
    for x in batches(turns):
        for index, optimizer in enumerate(optimizers):
            for number, network in enumerate((module.autoencoder, module.discriminator)):
                network.requires_grad_(number == index)

            def closure(index=index, optimizer=optimizer, x=x) -> Tensor:
                loss = module.training_step(x, index)
                optimizer.zero_grad()
                loss.backward()
                return loss

            optimizer.step(closure)
        module.global_step += 1
    return [module]
