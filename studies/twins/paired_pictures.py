"""Games in which a generator's picture has a truth: GANs with a content loss."""

from functools import cache, partial
from pathlib import Path

import networks
import torch
import torch.nn.functional as F
from measures import Judge, activations, compared, paired_measures
from torch import Tensor, nn
from trial import Course, Measures, Trial, adam, bce

import counterpoise as cp
from data import crops, held_out_truths

BATCH_SIZE = 8


def blurred(photographs: Tensor) -> Tensor:
    """Photographs without their details: means of 4 by 4 pixels, made wide again."""
    small = F.avg_pool2d(photographs, 4)
    return F.interpolate(small, scale_factor=4, mode="bilinear", align_corners=False)


def pix2pix(trial: Trial, g_learning_rate: float = 4e-4) -> Measures:
    """Details for blurred photographs. Source: Isola et al. 2017, with its weight of L1."""
    g = networks.dcgan_initialised(networks.UNet(3))
    d = networks.patch_discriminator(6)
    g_optimizer, d_optimizer = adam(g, g_learning_rate), adam(d, 4e-4)
    held_out = blurred(held_out_truths(trial.data))
    measure = partial(paired_measures, trial.data, g, held_out)
    balance = cp.Balance(g, d, g_optimizer, d_optimizer, policy=trial.policy)
    course = Course(trial.turns or 300, balance, g, measure)
    for _ in course.turns():
        b = crops(trial.data, BATCH_SIZE)
        a = blurred(b)
        fake = g(a)
        balance.d_step()
        d.requires_grad_(True)
        d_optimizer.zero_grad()
        on_fake, on_real = d(torch.cat([a, fake.detach()], 1)), d(torch.cat([a, b], 1))
        ((bce(on_fake, 0.0) + bce(on_real, 1.0)) * 0.5).backward()
        d_optimizer.step()
        balance.g_step()
        d.requires_grad_(False)
        g_optimizer.zero_grad()
        (bce(d(torch.cat([a, fake], 1)), 1.0) + 100.0 * F.l1_loss(fake, b)).backward()
        g_optimizer.step()
    return course.measures()


def srgan(
    trial: Trial,
    d_learning_rate: float = 1e-4,
    l1_weight: float = 1e-2,
    feature_weight: float = 1.0,
    adversarial_weight: float = 0.02,
) -> Measures:
    """Super-resolution by four from a generator that L1 has trained, G before D, as ESRGAN's."""
    net_g, net_d, betas = networks.Upscaler(), networks.srgan_discriminator(), (0.9, 0.99)
    optimizer = adam(net_g, 1e-3, betas)
    for _ in range(120):
        gt = crops(trial.data, 16)
        optimizer.zero_grad()
        F.l1_loss(net_g(F.avg_pool2d(gt, 4)), gt).backward()
        optimizer.step()
    optimizer_g, optimizer_d = adam(net_g, 1e-4, betas), adam(net_d, d_learning_rate, betas)
    held_out = F.avg_pool2d(held_out_truths(trial.data), 4)
    measure = partial(paired_measures, trial.data, net_g, held_out)

    def feature_loss(output: Tensor, gt: Tensor) -> Tensor:
        fake, real = (activations(trial.data, images, ("relu2_1",)) for images in (output, gt))
        return F.l1_loss(fake[0], real[0])

    balance = cp.Balance(net_g, net_d, optimizer_g, optimizer_d, policy=trial.policy)
    course = Course(trial.turns or 120, balance, net_g, measure)
    for _ in course.turns():
        gt = crops(trial.data, BATCH_SIZE)
        lq = F.avg_pool2d(gt, 4)
        balance.g_step()
        for p in net_d.parameters():
            p.requires_grad = False
        optimizer_g.zero_grad()
        output = net_g(lq)
        l_g = l1_weight * F.l1_loss(output, gt)
        if feature_weight:
            l_g = l_g + feature_weight * feature_loss(output, gt)
        (l_g + adversarial_weight * bce(net_d(output), 1.0)).backward()
        optimizer_g.step()
        balance.d_step()
        for p in net_d.parameters():
            p.requires_grad = True
        optimizer_d.zero_grad()
        bce(net_d(gt), 1.0).backward()
        bce(net_d(output.detach()), 0.0).backward()
        optimizer_d.step()
    return course.measures()


def vq(
    trial: Trial,
    d_begins: int = 120,
    d_learning_rate: float = 5e-4,
    d_weight: float = 0.8,
    adaptive: bool = True,
) -> Measures:
    """A tokenizer whose D joins late, weighted by the ratio of gradients, as VQGAN's.

    Source: Esser et al. 2021, equation 7; `d_weight` is its factor, or all where not `adaptive`.
    """
    model, discriminator = networks.Tokenizer(), networks.patch_discriminator(3)
    opt_ae = adam(model, 5e-4, (0.5, 0.9))
    opt_disc = adam(discriminator, d_learning_rate, (0.5, 0.9))
    held_out = held_out_truths(trial.data)
    measure = partial(paired_measures, trial.data, lambda x: model(x)[0], held_out)

    def adversarial_weight(nll: Tensor, g_loss: Tensor) -> Tensor | float:
        if not adaptive:
            return d_weight
        last = model.decoder[-1].weight
        (of_nll,) = torch.autograd.grad(nll, last, retain_graph=True)
        (of_g,) = torch.autograd.grad(g_loss, last, retain_graph=True)
        return d_weight * (of_nll.norm() / (of_g.norm() + 1e-4)).clamp(0, 1e4).detach()

    def training_step(x: Tensor, optimizer_idx: int, factor: float) -> Tensor:
        xrec, qloss = model(x)
        if optimizer_idx == 0:
            nll = F.l1_loss(xrec, x)
            g_loss = -discriminator(xrec).mean()
            return nll + adversarial_weight(nll, g_loss) * factor * g_loss + qloss
        on_real, on_fake = discriminator(x.detach()), discriminator(xrec.detach())
        return factor * 0.5 * (F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean())

    balance = cp.Balance(model, discriminator, opt_ae, opt_disc, policy=trial.policy)
    course = Course(trial.turns or 300, balance, model, measure)
    for turn in course.turns():
        x = crops(trial.data, BATCH_SIZE)
        factor = float(turn > d_begins)
        balance.g_step()
        model.requires_grad_(True)
        discriminator.requires_grad_(False)
        loss = training_step(x, 0, factor)
        opt_ae.zero_grad()
        loss.backward()
        opt_ae.step()
        balance.d_step()
        model.requires_grad_(False)
        discriminator.requires_grad_(True)
        loss = training_step(x, 1, factor)
        opt_disc.zero_grad()
        loss.backward()
        opt_disc.step()
    return course.measures()


Corners = list[list[int]]


def holes(count: int, random: torch.Generator | None = None) -> tuple[Tensor, Corners]:
    """Masks (N, 1, 32, 32), 1 in a hole of 14 by 14, and the corners of the 18 by 18 around it."""
    corners = torch.randint(0, 15, (count, 2), generator=random).tolist()
    mask = torch.zeros(count, 1, 32, 32)
    for index, (top, left) in enumerate(corners):
        mask[index, :, top + 2 : top + 16, left + 2 : left + 16] = 1
    return mask, corners


def around(images: Tensor, corners: Corners) -> Tensor:
    """The parts (N, C, 18, 18) around holes."""
    places = zip(images, corners, strict=True)
    return torch.stack([x[:, top : top + 18, left : left + 18] for x, (top, left) in places])


@cache
def _held_out_holes(folder: Path) -> tuple[Tensor, Corners, Judge]:
    """Holes for the held-out pictures, and the judge of what is around them."""
    held_out = held_out_truths(folder)
    mask, corners = holes(len(held_out), torch.Generator().manual_seed(0))
    return mask, corners, Judge(folder, around(held_out, corners))


def inpainting(
    trial: Trial,
    adversarial_weight: float = 0.1,
    d_head_start_steps: int = 0,
    d_batch_norm: bool = False,
) -> Measures:
    """Holes in photographs, against a D of all and one of the hole (Iizuka et al. 2017)."""
    g = networks.dcgan_initialised(networks.UNet(4))
    norm = nn.BatchNorm2d if d_batch_norm else None
    ds = {"global": networks.one_logit(32, norm), "local": networks.one_logit(18, norm)}
    g_optimizer = adam(g, 4e-4)
    d_optimizers = {name: adam(d, 2e-4) for name, d in ds.items()}

    def fill(photo: Tensor, mask: Tensor) -> Tensor:
        return photo * (1 - mask) + mask * g(torch.cat([photo * (1 - mask), mask], 1))

    def measure() -> Measures:
        held_out, (mask, corners, judge) = held_out_truths(trial.data), _held_out_holes(trial.data)
        parts = zip(held_out.split(50), mask.split(50), strict=True)
        filled = torch.cat([fill(photo, hole) for photo, hole in parts])
        fake, real = around(filled, corners), around(held_out, corners)
        found = compared(trial.data, fake, real, judge)
        return {f"hole_{name}": value for name, value in found.items()}

    def train_ds(photo: Tensor, filled: Tensor, corners: Corners) -> None:
        local = around(photo, corners), around(filled, corners)
        for name, (real, fake) in {"global": (photo, filled), "local": local}.items():
            d = ds[name]
            d_optimizers[name].zero_grad()
            (bce(d(real), 1.0) + bce(d(fake.detach()), 0.0)).backward()
            d_optimizers[name].step()

    for _ in range(d_head_start_steps):
        photo, (mask, corners) = crops(trial.data, BATCH_SIZE), holes(BATCH_SIZE)
        train_ds(photo, fill(photo, mask), corners)

    balance = cp.Balance(g, ds, g_optimizer, d_optimizers, policy=trial.policy)
    course = Course(trial.turns or 300, balance, g, measure)
    for _ in course.turns():
        photo, (mask, corners) = crops(trial.data, BATCH_SIZE), holes(BATCH_SIZE)
        filled = fill(photo, mask)
        balance.d_step()
        train_ds(photo, filled, corners)
        balance.g_step()
        g_optimizer.zero_grad()
        fooled = bce(ds["global"](filled), 1.0) + bce(ds["local"](around(filled, corners)), 1.0)
        (10.0 * (filled - photo).abs().mean() + adversarial_weight * fooled).backward()
        g_optimizer.step()
    return course.measures()


def denoiser(trial: Trial, l1_weight: float = 20.0, d_gate: float | None = None) -> Measures:
    """Least squares; D, of twice G's rate, sees the noisy picture too.

    D is trained only where its loss is over `d_gate`.
    """
    g = networks.dcgan_initialised(networks.UNet(3))
    d = networks.patch_discriminator(6)
    g_optimizer, d_optimizer = adam(g, 4e-4), adam(d, 8e-4)
    held_out = held_out_truths(trial.data)
    noise = torch.randn(held_out.shape, generator=torch.Generator().manual_seed(0))
    measure = partial(paired_measures, trial.data, g, held_out + 0.5 * noise)
    balance = cp.Balance(g, d, g_optimizer, d_optimizer, policy=trial.policy)
    course = Course(trial.turns or 300, balance, g, measure)
    for _ in course.turns():
        clean = crops(trial.data, BATCH_SIZE)
        noisy = clean + 0.5 * torch.randn_like(clean)
        fake = g(noisy)
        balance.d_step()
        on_real = d(torch.cat([noisy, clean], 1))
        on_fake = d(torch.cat([noisy, fake.detach()], 1))
        loss_d = 0.5 * ((on_real - 1).square().mean() + on_fake.square().mean())
        d_optimizer.zero_grad()
        loss_d.backward()
        if d_gate is None or loss_d.item() > d_gate:
            d_optimizer.step()
        balance.g_step()
        g_optimizer.zero_grad()
        on_fake = d(torch.cat([noisy, fake], 1))
        ((on_fake - 1).square().mean() + l1_weight * F.l1_loss(fake, clean)).backward()
        g_optimizer.step()
    return course.measures()
