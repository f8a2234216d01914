"""Loops that make images of images, and waveforms of spectra: with a content term, several Ds."""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

from loopbugs.common import (
    Features,
    Scales,
    Vocoder,
    adam,
    bug,
    discriminator,
    loop,
    pairs,
    patches,
    sounds,
    translator,
)


@loop(
    bug("g-term-detached", "adversarial-without-gradient"),
    bug("no-grad-in-g", "adversarial-without-gradient"),
    bug("item-in-g", "adversarial-without-gradient"),
    bug("condition-mismatch", "condition-mismatch"),
)
def pix2pix(run, bug):
    """D sees the condition beside the image and answers with a map; G has an L1 term."""
    netG, netD = translator(), patches(2)
    optimizer_G, optimizer_D = adam(netG), adam(netD)
    balance = run.watch(netG, netD, optimizer_G, optimizer_D)
    criterionGAN, criterionL1 = nn.MSELoss(), nn.L1Loss()
    for real_A, real_B in run.batches(pairs):
        fake_B = netG(real_A)
        balance.d_step()
        optimizer_D.zero_grad()
        given = real_A.flip(0) if bug == "condition-mismatch" else real_A
        pred_fake = netD(torch.cat((given, fake_B), 1).detach())
        pred_real = netD(torch.cat((real_A, real_B), 1))
        loss_D_fake = criterionGAN(pred_fake, torch.zeros_like(pred_fake))
        loss_D_real = criterionGAN(pred_real, torch.ones_like(pred_real))
        loss_D = (loss_D_fake + loss_D_real) * 0.5
        loss_D.backward()
        optimizer_D.step()

        balance.g_step()
        optimizer_G.zero_grad()
        fake_AB = torch.cat((real_A, fake_B), 1)
        if bug == "g-term-detached":
            pred_fake = netD(fake_AB.detach())
        elif bug == "no-grad-in-g":
            with torch.no_grad():
                pred_fake = netD(fake_AB)
        else:
            pred_fake = netD(fake_AB)
        loss_G_GAN = criterionGAN(pred_fake, torch.ones_like(pred_fake))
        loss_G_L1 = criterionL1(fake_B, real_B) * 10
        if bug == "item-in-g":
            loss_G = loss_G_GAN.item() + loss_G_L1
        else:
            loss_G = loss_G_GAN + loss_G_L1
        loss_G.backward()
        optimizer_G.step()


@loop(
    bug("d-stays-frozen", "frozen-discriminator", "never-updated", "d-frozen"),
    bug("wrong-d", "wrong-discriminator", "never-updated"),
)
def cyclegan(run, bug):
    """Two games; one optimizer over both Gs, one over both Ds; D frozen while G is trained."""
    netG_A, netG_B, netD_A, netD_B = translator(), translator(), patches(1), patches(1)
    optimizer_G, optimizer_D = adam(netG_A, netG_B), adam(netD_A, netD_B)
    balance = run.watch([netG_A, netG_B], {"A": netD_A, "B": netD_B}, optimizer_G, optimizer_D)
    criterion, cycle = nn.MSELoss(), nn.L1Loss()

    def basic_D(netD, real, fake):
        pred_real, pred_fake = netD(real), netD(fake.detach())
        loss = criterion(pred_real, torch.ones_like(pred_real))
        return (loss + criterion(pred_fake, torch.zeros_like(pred_fake))) * 0.5

    def set_requires_grad(nets, requires_grad):
        for net in nets:
            for param in net.parameters():
                param.requires_grad = requires_grad

    for real_A, real_B in run.batches(pairs):
        balance.g_step()
        fake_B, fake_A = netG_A(real_A), netG_B(real_B)
        set_requires_grad([netD_A, netD_B], False)
        optimizer_G.zero_grad()
        pred_A, pred_B = netD_A(fake_B), netD_B(fake_A)
        loss_G = criterion(pred_A, torch.ones_like(pred_A))
        loss_G = loss_G + criterion(pred_B, torch.ones_like(pred_B))
        loss_G = loss_G + 10 * (cycle(netG_B(fake_B), real_A) + cycle(netG_A(fake_A), real_B))
        loss_G.backward()
        optimizer_G.step()

        balance.d_step()
        optimizer_D.zero_grad()
        if bug == "d-stays-frozen":
            set_requires_grad([netD_A], True)
        else:
            set_requires_grad([netD_A, netD_B], True)
        loss_D = basic_D(netD_A, real_B, fake_B)
        loss_D = loss_D + basic_D(netD_A if bug == "wrong-d" else netD_B, real_A, fake_A)
        loss_D.backward()
        optimizer_D.step()


@loop(
    bug("g-helps-d", "g-helps-d", name="relativistic"),
    bug("foreign-parameters", "foreign-parameters"),
)
def esrgan(run, bug):
    """Relativistic average, with D's answer on real images detached in G's part."""
    net_g, net_d = translator(), discriminator()
    optim_params = list(net_g.parameters())
    if bug == "foreign-parameters":
        optim_params += list(net_d.parameters())
    optimizer_g = torch.optim.Adam(optim_params, 1e-4, betas=(0.9, 0.99))
    optimizer_d = torch.optim.Adam(net_d.parameters(), 1e-4, betas=(0.9, 0.99))
    balance = run.watch(net_g, net_d, optimizer_g, optimizer_d)
    cri_gan = nn.BCEWithLogitsLoss()
    real_label, fake_label = torch.ones(8, 1), torch.zeros(8, 1)
    for lq, gt in run.batches(pairs):
        balance.g_step()
        optimizer_g.zero_grad()
        output = net_g(lq)
        real_d_pred = net_d(gt).detach()
        fake_g_pred = net_d(output)
        if bug == "relativistic":
            l_g_real = cri_gan(real_d_pred - fake_g_pred.mean(), real_label)
            l_g_fake = cri_gan(fake_g_pred - real_d_pred.mean(), fake_label)
        else:
            l_g_real = cri_gan(real_d_pred - fake_g_pred.mean(), fake_label)
            l_g_fake = cri_gan(fake_g_pred - real_d_pred.mean(), real_label)
        l_g_total = F.l1_loss(output, gt) + 0.1 * (l_g_real + l_g_fake) / 2
        l_g_total.backward()
        optimizer_g.step()

        balance.d_step()
        optimizer_d.zero_grad()
        real_pred, fake_pred = net_d(gt), net_d(output.detach())
        l_d_real = cri_gan(real_pred - fake_pred.mean(), real_label)
        l_d_fake = cri_gan(fake_pred - real_pred.mean(), fake_label)
        ((l_d_real + l_d_fake) / 2).backward()
        optimizer_d.step()


@loop(bug("unowned-parameters", "unowned-parameters"))
def vocoder(run, bug):
    """Two Ds of several parts each, one optimizer; least squares and feature matching."""
    generator, mpd, msd = Vocoder(), Scales(2, 3), Scales(1)
    optim_g = torch.optim.AdamW(generator.parameters(), 2e-4, betas=(0.8, 0.99))
    parts = [mpd] if bug == "unowned-parameters" else [mpd, msd]
    both = itertools.chain(*(part.parameters() for part in parts))
    optim_d = torch.optim.AdamW(both, 2e-4, betas=(0.8, 0.99))
    balance = run.watch(generator, {"mpd": mpd, "msd": msd}, optim_g, optim_d)
    for x, y in run.batches(sounds):
        y_g_hat = generator(x)
        balance.d_step()
        optim_d.zero_grad()
        loss_disc_all = 0
        for d in (mpd, msd):
            y_d_rs, _ = d(y)
            y_d_gs, _ = d(y_g_hat.detach())
            for dr, dg in zip(y_d_rs, y_d_gs, strict=True):
                loss_disc_all = loss_disc_all + ((1 - dr) ** 2).mean() + (dg**2).mean()
        loss_disc_all.backward()
        optim_d.step()

        balance.g_step()
        optim_g.zero_grad()
        loss_gen_all = 45 * F.l1_loss(y_g_hat, y)
        for d in (mpd, msd):
            _, fmap_rs = d(y)
            y_d_gs, fmap_gs = d(y_g_hat)
            for dg in y_d_gs:
                loss_gen_all = loss_gen_all + ((1 - dg) ** 2).mean()
            for fr, fg in zip(fmap_rs, fmap_gs, strict=True):
                loss_gen_all = loss_gen_all + 2 * sum(
                    F.l1_loss(g_, r_.detach()) for r_, g_ in zip(fr, fg, strict=True)
                )
        loss_gen_all.backward()
        optim_g.step()


class Plain(nn.Module):
    """As `Scales`, with its parts in a plain list."""

    def __init__(self, *periods):
        super().__init__()
        self.first = Features(1)
        self.parts = [Features(period) for period in periods]

    def forward(self, wave):
        answers = [part(wave) for part in (self.first, *self.parts)]
        return [logits for logits, _ in answers], [maps for _, maps in answers]


@loop(
    bug("unregistered-modules", "unowned-parameters", "unregistered-modules"),
    bug("feature-matching", "feature-matching-without-gradient", name="fake-features-detached"),
    bug("clip-nothing", "clip-nothing"),
    bug("fake-not-detached", "fake-not-detached"),
    bug("unused-parameters", "unused-parameters"),
)
def codec(run, bug):
    """As the vocoder's, with D's features of real sounds taken without gradient."""
    net_g, net_d = Vocoder(), Scales(1, 2)
    net_s = Plain(3) if bug == "unregistered-modules" else Scales(3)
    optim_g = torch.optim.AdamW(net_g.parameters(), 2e-4, betas=(0.8, 0.99))
    everything = [*net_d.parameters(), *net_s.parameters()]
    optim_d = torch.optim.AdamW(everything, 2e-4, betas=(0.8, 0.99))
    to_clip = net_g.parameters()
    balance = run.watch(net_g, {"period": net_d, "scale": net_s}, optim_g, optim_d)
    for spec, y in run.batches(sounds):
        y_hat = net_g(spec)
        balance.d_step()
        loss_disc = 0
        for net in (net_d, net_s):
            real, _ = net(y)
            made, _ = net(y_hat if bug == "fake-not-detached" else y_hat.detach())
            if bug == "unused-parameters":
                real, made = real[-1:], made[-1:]
            loss_disc = loss_disc + sum(torch.mean((1 - r) ** 2) for r in real)
            loss_disc = loss_disc + sum(torch.mean(m**2) for m in made)
        optim_d.zero_grad()
        if bug == "fake-not-detached":
            optim_g.zero_grad()
        loss_disc.backward()
        optim_d.step()
        balance.g_step()
        y_hat = net_g(spec) if bug == "fake-not-detached" else y_hat
        loss_mel = F.l1_loss(y_hat.abs(), y.abs()) * 45
        loss_gen = loss_fm = 0
        for net in (net_d, net_s):
            with torch.no_grad():
                _, fmap_r = net(y)
            made, fmap_g = net(y_hat)
            loss_gen = loss_gen + sum(torch.mean((1 - m) ** 2) for m in made)
            for rs, gs in zip(fmap_r, fmap_g, strict=True):
                for r, g in zip(rs, gs, strict=True):
                    if bug == "fake-features-detached":
                        loss_fm = loss_fm + F.l1_loss(r, g.detach())
                    else:
                        loss_fm = loss_fm + F.l1_loss(r.detach(), g)
        if bug != "fake-not-detached":
            optim_g.zero_grad()
        (loss_gen + 2 * loss_fm + loss_mel).backward()
        if bug == "clip-nothing":
            torch.nn.utils.clip_grad_norm_(to_clip, 1000)
        else:
            torch.nn.utils.clip_grad_norm_(net_g.parameters(), 1000)
        optim_g.step()
