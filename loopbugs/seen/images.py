"""Loops that make images of noise: DCGAN's kind, with logits, with classes."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from loopbugs.common import adam, bug, discriminator, generator, images, loop, mlp, noise


@loop(
    bug("step-missing", "never-updated", "d-frozen"),
    bug("half-skipped", "half-skipped"),
    bug("half-skipped", "half-skipped", name="half-cleared"),
    bug("same-noise", "same-noise"),
    bug("g-helps-d", "g-helps-d"),
)
def dcgan(run, bug):
    """D first, a backward pass for each half, one label tensor that is filled anew."""
    netG, netD = generator(batch_norm=True), discriminator(end=nn.Sigmoid())
    optimizerG, optimizerD = adam(netG), adam(netD)
    balance = run.watch(netG, netD, optimizerG, optimizerD)
    criterion = nn.BCELoss()
    fixed = noise()
    for real in run.batches():
        balance.d_step()
        netD.zero_grad()
        label = torch.full((len(real),), 1.0)
        errD_real = criterion(netD(real).view(-1), label)
        errD_real.backward()
        fake = netG(fixed if bug == "same-noise" else torch.randn(len(real), 8))
        label.fill_(0.0)
        errD_fake = criterion(netD(fake.detach()).view(-1), label)
        if bug == "half-cleared":
            netD.zero_grad()
        if bug != "half-skipped":
            errD_fake.backward()
        if bug != "step-missing":
            optimizerD.step()

        balance.g_step()
        netG.zero_grad()
        if bug != "g-helps-d":
            label.fill_(1.0)
        errG = criterion(netD(fake).view(-1), label)
        errG.backward()
        optimizerG.step()


@loop(
    bug("d-not-zeroed", "stale-d-gradients"),
    bug("labels-swapped", "labels-swapped", "g-helps-d"),
    bug("wrong-optimizer", "wrong-optimizer"),
)
def generator_first(run, bug):
    """G first, then D on the same images, detached."""
    g, d = generator(), discriminator()
    optimizer_G, optimizer_D = adam(g), adam(d)
    balance = run.watch(g, d, optimizer_G, optimizer_D)
    adversarial_loss = nn.BCEWithLogitsLoss()
    valid, fake = torch.ones(8, 1), torch.zeros(8, 1)
    for real_imgs in run.batches():
        balance.g_step()
        optimizer_G.zero_grad()
        gen_imgs = g(noise())
        g_loss = adversarial_loss(d(gen_imgs), valid)
        g_loss.backward()
        optimizer_G.step()

        balance.d_step()
        if bug != "d-not-zeroed":
            optimizer_D.zero_grad()
        if bug == "labels-swapped":
            real_loss = adversarial_loss(d(real_imgs), fake)
            fake_loss = adversarial_loss(d(gen_imgs.detach()), valid)
        else:
            real_loss = adversarial_loss(d(real_imgs), valid)
            fake_loss = adversarial_loss(d(gen_imgs.detach()), fake)
        d_loss = (real_loss + fake_loss) / 2
        d_loss.backward()
        if bug == "wrong-optimizer":
            optimizer_G.step()
        else:
            optimizer_D.step()


@loop(
    bug("sigmoid-twice", "sigmoid-before-logits-loss"),
    bug("fake-labelled-real", "fake-labelled-real"),
)
def logits(run, bug):
    """Cross entropy with logits."""
    g = generator()
    d = discriminator(end=nn.Sigmoid() if bug == "sigmoid-twice" else None)
    g_optimizer, d_optimizer = adam(g), adam(d)
    balance = run.watch(g, d, g_optimizer, d_optimizer)
    bce = F.binary_cross_entropy_with_logits
    for real in run.batches():
        balance.d_step()
        logits_real = d(real)
        logits_fake = d(g(noise()).detach())
        loss_real = bce(logits_real, torch.ones_like(logits_real))
        if bug == "fake-labelled-real":
            loss_fake = bce(logits_fake, torch.ones_like(logits_fake))
        else:
            loss_fake = bce(logits_fake, torch.zeros_like(logits_fake))
        d_optimizer.zero_grad()
        (loss_real + loss_fake).backward()
        d_optimizer.step()

        balance.g_step()
        logits_fake = d(g(noise()))
        loss_g = bce(logits_fake, torch.ones_like(logits_fake))
        g_optimizer.zero_grad()
        loss_g.backward()
        g_optimizer.step()


@loop(
    bug("softmax-over-batch", "softmax-over-batch"),
    bug("softmax-twice", "softmax-twice"),
)
def two_classes(run, bug):
    """D has two outputs, real and fake, behind a log softmax."""
    g, d = generator(), discriminator(2)
    opt_g, opt_d = adam(g), adam(d)
    balance = run.watch(g, d, opt_g, opt_d, objective="bce")
    real_class, fake_class = torch.ones(8).long(), torch.zeros(8).long()

    def judge(pictures):
        if bug == "softmax-over-batch":
            return F.log_softmax(d(pictures), dim=0)
        if bug == "softmax-twice":
            return F.log_softmax(d(pictures).softmax(1), dim=1)
        return F.log_softmax(d(pictures), dim=1)

    for real in run.batches():
        balance.d_step()
        opt_d.zero_grad()
        fake = g(noise())
        loss = F.nll_loss(judge(real), real_class) + F.nll_loss(judge(fake.detach()), fake_class)
        loss.backward()
        opt_d.step()
        balance.g_step()
        opt_g.zero_grad()
        F.nll_loss(judge(fake), real_class).backward()
        opt_g.step()


@loop(
    bug("saturating", "saturating-loss"),
    bug("needless-retain-graph", "needless-retain-graph"),
    bug("memory-grows", "memory-grows", name="history"),
    bug("memory-grows", "memory-grows", name="pictures"),
)
def probabilities(run, bug):
    """The losses are written out with logarithms, and their values kept for a plot."""
    G, D = mlp(8, 32, 64, end=nn.Tanh()), mlp(64, 32, 1, end=nn.Sigmoid())
    opt_G, opt_D = adam(G), adam(D)
    balance = run.watch(G, D, opt_G, opt_D)
    losses, pictures = [], []
    for i, real in enumerate(run.batches()):
        balance.d_step()
        fake = G(torch.randn(len(real), 8))
        if i % 2 == 0:
            pictures.append(fake if bug == "pictures" else fake.detach())
        prob_real, prob_fake = D(real.flatten(1)), D(fake.detach())
        D_loss = -torch.mean(torch.log(prob_real + 1e-8) + torch.log(1 - prob_fake + 1e-8))
        opt_D.zero_grad()
        if bug == "needless-retain-graph":
            D_loss.backward(retain_graph=True)
        else:
            D_loss.backward()
        opt_D.step()
        balance.g_step()
        prob_fake = D(fake)
        if bug == "saturating":
            G_loss = torch.mean(torch.log(1 - prob_fake + 1e-8))
        else:
            G_loss = -torch.mean(torch.log(prob_fake + 1e-8))
        opt_G.zero_grad()
        G_loss.backward()
        opt_G.step()
        if bug == "history":
            losses.append(torch.stack([D_loss, G_loss]))
        else:
            losses.append((D_loss.item(), G_loss.item()))


@loop(
    bug("value-ranges", "value-ranges", "trivially-separable"),
    bug("same-real", "same-real"),
)
def loader(run, bug):
    """Batches come of a loader that does not shuffle, and are normalised in the loop."""
    seed = torch.Generator().manual_seed(3)
    dataset = [(images(seed) + 1) / 2 for _ in range(run.turns + 1)]
    g, d = generator(), discriminator()
    g_optimizer, d_optimizer = adam(g), adam(d)
    balance = run.watch(g, d, g_optimizer, d_optimizer)
    criterion = nn.BCEWithLogitsLoss()
    data_iter = iter(dataset)
    for _ in run.batches():
        batch = next(iter(dataset)) if bug == "same-real" else next(data_iter)
        real = batch if bug == "value-ranges" else batch * 2 - 1
        fake = g(noise())
        balance.d_step()
        d_optimizer.zero_grad()
        on_real, on_fake = d(real), d(fake.detach())
        loss = criterion(on_real, torch.ones(8, 1)) + criterion(on_fake, torch.zeros(8, 1))
        loss.backward()
        d_optimizer.step()
        balance.g_step()
        g_optimizer.zero_grad()
        criterion(d(fake), torch.ones(8, 1)).backward()
        g_optimizer.step()


@loop(
    bug("eval-mode", "eval-mode", turns=12),
    bug("stale-d", "stale-discriminator"),
)
def with_samples(run, bug):
    """Every few steps a sheet of samples is drawn of a fixed noise, in eval mode."""
    g, d = generator(batch_norm=True), discriminator()
    optim_g, optim_d = adam(g), adam(d)
    balance = run.watch(g, d, optim_g, optim_d)
    sample_noise = noise(16)
    judge = copy.deepcopy(d) if bug == "stale-d" else d
    for step, real in enumerate(run.batches()):
        balance.d_step()
        fake = g(noise())
        loss_d = F.softplus(-d(real)).mean() + F.softplus(d(fake.detach())).mean()
        optim_d.zero_grad()
        loss_d.backward()
        optim_d.step()
        balance.g_step()
        loss_g = F.softplus(-judge(fake)).mean()
        optim_g.zero_grad()
        loss_g.backward()
        optim_g.step()
        if step % 4 == 0:
            g.eval()
            with torch.no_grad():
                g(sample_noise).mul(0.5).add(0.5)
            if bug != "eval-mode":
                g.train()


@loop(bug("same-fake", "same-fake", "same-noise"))
def several_d_steps(run, bug):
    """Three steps of D for one of G, each on fresh images."""
    g, d = generator(), discriminator()
    opt_g, opt_d = adam(g), adam(d)
    balance = run.watch(g, d, opt_g, opt_d)
    kept = g(noise()).detach()
    for batches in run.batches(lambda seed: [images(seed) for _ in range(3)]):
        for real in batches:
            balance.d_step()
            fake = kept if bug == "same-fake" else g(noise()).detach()
            opt_d.zero_grad()
            loss = F.relu(1 - d(real)) + F.relu(1 + d(fake))
            loss.mean().backward()
            opt_d.step()
        balance.g_step()
        opt_g.zero_grad()
        (-d(g(noise())).mean()).backward()
        opt_g.step()
