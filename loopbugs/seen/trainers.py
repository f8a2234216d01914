"""What trainers add: mixed precision, accumulation, schedules, a late D."""

import torch
import torch.nn.functional as F
from torch import nn

from loopbugs.common import (
    adam,
    bug,
    discriminator,
    generator,
    images,
    loop,
    noise,
    pairs,
    patches,
    translator,
)


@loop(
    bug("scaler-clip", "scaler-not-unscaled"),
    bug("scaler-bypassed", "scaler-bypassed"),
)
def amp(run, bug):
    """One GradScaler for both, gradients clipped."""
    g, d = generator(), discriminator()
    opt_g, opt_d = adam(g), adam(d)
    scaler = torch.amp.GradScaler("cpu")
    balance = run.watch(g, d, opt_g, opt_d, grad_scaler=scaler)
    criterion = nn.BCEWithLogitsLoss()
    for real in run.batches():
        balance.d_step()
        opt_d.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            fake = g(noise())
            on_real, on_fake = d(real), d(fake.detach())
            loss_d = criterion(on_real, torch.ones_like(on_real))
            loss_d = loss_d + criterion(on_fake, torch.zeros_like(on_fake))
        scaler.scale(loss_d).backward()
        if bug == "scaler-bypassed":
            opt_d.step()
        else:
            if bug != "scaler-clip":
                scaler.unscale_(opt_d)
            torch.nn.utils.clip_grad_norm_(d.parameters(), 1.0)
            scaler.step(opt_d)
            scaler.update()
        balance.g_step()
        opt_g.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            on_fake = d(fake)
            loss_g = criterion(on_fake, torch.ones_like(on_fake))
        scaler.scale(loss_g).backward()
        scaler.step(opt_g)
        scaler.update()


@loop(
    bug("accumulation", "accumulation-not-divided"),
    bug("accumulation-reset", "accumulation-reset"),
)
def accumulation(run, bug):
    """Four micro-batches for each step of D and of G."""
    g, d = generator(), discriminator()
    opt_g, opt_d = adam(g), adam(d)
    balance = run.watch(g, d, opt_g, opt_d)
    every = 4
    for batch in run.batches(lambda seed: [images(seed) for _ in range(4)]):
        balance.d_step()
        opt_d.zero_grad()
        for real in batch:
            if bug == "accumulation-reset":
                opt_d.zero_grad()
            loss = F.relu(1 - d(real)).mean() + F.relu(1 + d(g(noise()).detach())).mean()
            if bug != "accumulation":
                loss = loss / every
            loss.backward()
        opt_d.step()
        balance.g_step()
        opt_g.zero_grad()
        for _ in batch:
            loss = -d(g(noise())).mean()
            if bug != "accumulation":
                loss = loss / every
            loss.backward()
        opt_g.step()


@loop(bug("rate-gone", "rate-gone"))
def schedule(run, bug):
    """The rates fall tenfold every second epoch, of a hundred batches each."""
    g, d = translator(), discriminator()
    g_optimizer, d_optimizer = adam(g), adam(d)
    g_scheduler = torch.optim.lr_scheduler.StepLR(g_optimizer, step_size=2, gamma=0.1)
    d_scheduler = torch.optim.lr_scheduler.StepLR(d_optimizer, step_size=2, gamma=0.1)
    balance = run.watch(g, d, g_optimizer, d_optimizer)
    criterion = nn.BCEWithLogitsLoss()
    for index, (low, high) in enumerate(run.batches(pairs)):
        balance.d_step()
        d.zero_grad(set_to_none=True)
        fake = g(low)
        hr_output, sr_output = d(high), d(fake.detach().clone())
        loss = criterion(hr_output, torch.ones(8, 1)) + criterion(sr_output, torch.zeros(8, 1))
        loss.backward()
        d_optimizer.step()
        balance.g_step()
        g.zero_grad(set_to_none=True)
        (F.mse_loss(fake, high) + 1e-2 * criterion(d(fake), torch.ones(8, 1))).backward()
        g_optimizer.step()
        if bug == "rate-gone" or index % 100 == 99:
            g_scheduler.step()
            d_scheduler.step()


@loop(
    bug("zeroed-before-step", "never-updated", "zeroed-before-step", "d-frozen"),
    bug("fake-not-detached", "fake-not-detached"),
    bug("g-not-zeroed", "stale-g-gradients"),
    bug("hinge-in-g", "hinge-in-g"),
    bug("hinge-on-sigmoid", "hinge-on-sigmoid"),
)
def hinge(run, bug):
    """Hinge losses; each part ends with its optimizer."""
    g = generator()
    d = discriminator(end=nn.Sigmoid() if bug == "hinge-on-sigmoid" else None)
    g_optimizer, d_optimizer = adam(g), adam(d)
    balance = run.watch(g, d, g_optimizer, d_optimizer)
    for real in run.batches():
        balance.d_step()
        d_optimizer.zero_grad()
        fake = g(noise())
        if bug == "fake-not-detached":
            g_optimizer.zero_grad()
            out_fake = d(fake)
        else:
            out_fake = d(fake.detach())
        d_loss = F.relu(1.0 - d(real)).mean() + F.relu(1.0 + out_fake).mean()
        d_loss.backward()
        if bug == "zeroed-before-step":
            d_optimizer.zero_grad()
        d_optimizer.step()
        balance.g_step()
        if bug not in ("g-not-zeroed", "fake-not-detached"):
            g_optimizer.zero_grad()
        out_fake = d(g(noise()))
        g_loss = F.relu(1.0 - out_fake).mean() if bug == "hinge-in-g" else -out_fake.mean()
        g_loss.backward()
        g_optimizer.step()


@loop(
    bug("real-in-g", "adversarial-without-gradient", "adversarial-on-real", turns=14),
    turns=14,
)
def late_discriminator(run, bug):
    """An autoencoder whose D begins at the fifth step, with a weight by gradients."""
    model, disc = translator(), patches(1)
    opt_ae, opt_disc = adam(model), adam(disc)
    balance = run.watch(model, disc, opt_ae, opt_disc)
    disc_start, last = 5, model[2].weight
    for global_step, inputs in enumerate(run.batches()):
        factor = 1.0 if global_step >= disc_start else 0.0
        balance.g_step()
        reconstructions = model(inputs)
        rec_loss = F.l1_loss(reconstructions, inputs)
        opt_ae.zero_grad()
        if bug == "real-in-g":
            loss = rec_loss - 0.5 * factor * disc(inputs).mean()
        else:
            g_loss = -disc(reconstructions).mean()
            rec_grad = torch.autograd.grad(rec_loss, last, retain_graph=True)[0]
            g_grad = torch.autograd.grad(g_loss, last, retain_graph=True)[0]
            d_weight = (rec_grad.norm() / (g_grad.norm() + 1e-4)).clamp(0, 1e4).detach()
            loss = rec_loss + 0.5 * d_weight * factor * g_loss
        loss.backward()
        opt_ae.step()
        balance.d_step()
        logits_real, logits_fake = disc(inputs.detach()), disc(reconstructions.detach())
        d_loss = F.relu(1.0 - logits_real).mean() + F.relu(1.0 + logits_fake).mean()
        opt_disc.zero_grad()
        (factor * 0.5 * d_loss).backward()
        opt_disc.step()
