"""StyleGAN2-ADA and StyleGAN3, `training_loop.py`: phases, the lazy R1 as one of its own.

G is called by its two halves, so `Balance` is given the one that makes the images. D and G are
frozen outside of their phases.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import counterpoise as cp  # +
from parts import NOISE, adam, batches, discriminator, generator


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mapping, self.synthesis = nn.Linear(NOISE, NOISE), generator()


def accumulate_gradients(
    phase: str, G: Generator, D: nn.Module, real_img: Tensor, z: Tensor
) -> None:
    def gen_img() -> Tensor:
        return G.synthesis(G.mapping(z))

    if phase == "Gmain":
        F.softplus(-D(gen_img())).mean().backward()
    elif phase == "Dmain":
        F.softplus(D(gen_img())).mean().backward()
        F.softplus(-D(real_img)).mean().backward()
    else:
        real_img = real_img.detach().requires_grad_(True)
        (grads,) = torch.autograd.grad(D(real_img).sum(), real_img, create_graph=True)
        (grads.square().sum([1, 2, 3]).mean() * 5 * 4).backward()


def train(turns: int) -> list[nn.Module]:
    G, D = Generator().requires_grad_(False), discriminator().requires_grad_(False)
    opt_G, opt_D = adam(G), adam(D)
    phases = [("Gmain", G, opt_G, 1), ("Dmain", D, opt_D, 1), ("Dreg", D, opt_D, 4)]
    balance = cp.Balance(G.synthesis, D, opt_G, opt_D, policy="auto")  # +
    for batch_idx, phase_real_img in enumerate(batches(turns)):
        for name, module, opt, interval in phases:
            if batch_idx % interval != 0:
                continue
            if name != "Dreg":  # +
                (balance.g_step if module is G else balance.d_step)()  # +
            opt.zero_grad(set_to_none=True)
            module.requires_grad_(True)
            accumulate_gradients(name, G, D, phase_real_img, torch.randn(8, NOISE))
            module.requires_grad_(False)
            opt.step()
    return [G, D]
