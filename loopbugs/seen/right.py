"""Correct loops, of the kinds in which a check errs."""

import copy
import itertools
import random

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from loopbugs.common import (
    CLASSES,
    Conditioned,
    Features,
    Scales,
    Vocoder,
    adam,
    bug,
    discriminator,
    generator,
    labelled,
    loop,
    mlp,
    noise,
    pairs,
    patches,
    rows,
    sounds,
    translator,
)

BCE = F.binary_cross_entropy_with_logits


@loop()
def one_batch(run, bug):
    """Real and fake judged in one batch, by a D with batch normalisation."""
    g, d = generator(batch_norm=True), discriminator(norm=nn.BatchNorm2d)
    opt_g, opt_d = adam(g), adam(d)
    balance = run.watch(g, d, opt_g, opt_d)
    for real in run.batches():
        balance.d_step()
        fake = g(noise())
        opt_d.zero_grad()
        real_logits, fake_logits = d(torch.cat([real, fake.detach()])).chunk(2)
        loss = BCE(real_logits, torch.ones_like(real_logits))
        (loss + BCE(fake_logits, torch.zeros_like(fake_logits))).backward()
        opt_d.step()
        balance.g_step()
        opt_g.zero_grad()
        _, fake_logits = d(torch.cat([real, fake])).chunk(2)
        BCE(fake_logits, torch.ones_like(fake_logits)).backward()
        opt_g.step()


@loop()
def one_batch_fake_first(run, bug):
    """The same with fake images first and labels in one tensor; samples of eval mode between."""
    g, d = generator(batch_norm=True), discriminator()
    opt_g, opt_d = adam(g), adam(d)
    balance = run.watch(g, d, opt_g, opt_d)
    labels = torch.cat([torch.zeros(8, 1), torch.ones(8, 1)])
    for step, real in enumerate(run.batches()):
        with torch.no_grad():
            generated = g(noise())
        balance.d_step()
        opt_d.zero_grad()
        soft = labels + 0.05 * torch.rand_like(labels)
        loss_d = BCE(d(torch.cat([generated, real])), soft)
        loss_d.backward()
        opt_d.step()
        balance.g_step()
        opt_g.zero_grad()
        loss_g = BCE(d(g(noise())), torch.ones(8, 1))
        loss_g.backward()
        opt_g.step()
        if step % 3 == 0:
            g.eval()
            with torch.no_grad():
                g(noise(4))
            g.train()


@loop()
def one_batch_named(run, bug):
    """One batch again, in blocks that name D's outputs."""
    g, d = translator(), patches(1)
    opt_g, opt_d = adam(g), adam(d)
    balance = run.watch(g, d, opt_g, opt_d)
    for low, high in run.batches(pairs):
        made = g(low)
        with balance.d_step() as step:
            opt_d.zero_grad()
            on_fake, on_real = d(torch.cat([made.detach(), high])).chunk(2)
            step.logits(real=on_real, fake=on_fake)
            (F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()).backward()
            opt_d.step()
        with balance.g_step() as step:
            opt_g.zero_grad()
            on_fake = d(made)
            step.logits(fake=on_fake)
            (F.l1_loss(made, high) - 0.1 * on_fake.mean()).backward()
            opt_g.step()


@loop()
def flipped_labels(run, bug):
    """Fake is 1 and real is 0, in G's part too: a convention, no mistake."""
    g, d = generator(), discriminator()
    opt_g, opt_d = adam(g), adam(d)
    balance = run.watch(g, d, opt_g, opt_d)
    for real in run.batches():
        balance.d_step()
        opt_d.zero_grad()
        fake = g(noise())
        loss = BCE(d(real), torch.zeros(8, 1)) + BCE(d(fake.detach()), torch.ones(8, 1))
        loss.backward()
        opt_d.step()
        balance.g_step()
        opt_g.zero_grad()
        BCE(d(fake), torch.zeros(8, 1)).backward()
        opt_g.step()


@loop()
def blocks(run, bug):
    """The form with blocks, and with both halves of D's loss named."""
    g, d = generator(), discriminator()
    opt_g, opt_d = adam(g), adam(d)
    balance = run.watch(g, d, opt_g, opt_d)
    for real in run.batches():
        fake = g(noise())
        with balance.d_step() as step:
            opt_d.zero_grad()
            on_real, on_fake = d(real), d(fake.detach())
            loss_real = BCE(on_real, torch.full_like(on_real, 0.9))
            loss_fake = BCE(on_fake, torch.zeros_like(on_fake))
            step.loss(real=loss_real, fake=loss_fake).backward()
            opt_d.step()
        with balance.g_step():
            opt_g.zero_grad()
            on_fake = d(fake)
            BCE(on_fake, torch.ones_like(on_fake)).backward()
            opt_g.step()


@loop()
def spectral(run, bug):
    """Spectral normalisation, hinge; D's `forward` is called."""
    g = generator(batch_norm=True)
    d = nn.Sequential(
        spectral_norm(nn.Conv2d(1, 8, 4, 2, 1)),
        nn.LeakyReLU(0.1),
        nn.Flatten(),
        spectral_norm(nn.Linear(128, 1)),
    )
    opt_g, opt_d = adam(g, learning_rate=1e-4), adam(d, learning_rate=4e-4)
    balance = run.watch(g, d, opt_g, opt_d)
    for real in run.batches():
        balance.d_step()
        with torch.no_grad():
            fake = g(noise())
        d_loss = F.relu(1 - d.forward(real)).mean() + F.relu(1 + d.forward(fake)).mean()
        opt_d.zero_grad()
        d_loss.backward()
        opt_d.step()
        balance.g_step()
        g_loss = -d.forward(g(noise())).mean()
        opt_g.zero_grad()
        g_loss.backward()
        opt_g.step()


class TwoHeads(nn.Module):
    """Says of an image whether it is real, and what it shows."""

    def __init__(self):
        super().__init__()
        self.trunk = discriminator(16, end=nn.LeakyReLU(0.2))
        self.adv, self.aux = nn.Linear(16, 1), nn.Linear(16, CLASSES)

    def forward(self, pictures):
        features = self.trunk(pictures)
        return self.adv(features), self.aux(features)


@loop()
def auxiliary_classifier(run, bug):
    """D returns two heads; D judges fake first; G's classes are drawn anew."""
    g = Conditioned(generator(2 * 8), 8)
    d = TwoHeads()
    opt_g, opt_d = adam(g), adam(d)
    balance = run.watch(g, d, opt_g, opt_d)
    adversarial, auxiliary = nn.BCEWithLogitsLoss(), nn.CrossEntropyLoss()
    for real, classes in run.batches(labelled):
        balance.g_step()
        opt_g.zero_grad()
        wanted = torch.randint(CLASSES, (8,))
        made = g(noise(), wanted)
        validity, label = d(made)
        loss = adversarial(validity, torch.ones(8, 1)) + auxiliary(label, wanted)
        (0.5 * loss).backward()
        opt_g.step()
        balance.d_step()
        opt_d.zero_grad()
        fake_pred, fake_aux = d(made.detach())
        real_pred, real_aux = d(real)
        fake_loss = adversarial(fake_pred, torch.zeros(8, 1)) + auxiliary(fake_aux, wanted)
        real_loss = adversarial(real_pred, torch.ones(8, 1)) + auxiliary(real_aux, classes)
        ((real_loss + fake_loss) / 2).backward()
        opt_d.step()


@loop()
def information(run, bug):
    """A third loss with an optimizer over both, as InfoGAN has, with D's second head."""
    g = generator(8 + CLASSES)
    d = TwoHeads()
    opt_g = adam(g)
    opt_d = adam(d.trunk, d.adv)
    opt_info = adam(g, d.trunk, d.aux)
    balance = run.watch(g, d, opt_g, opt_d)

    def draw():
        codes = torch.randint(CLASSES, (8,))
        return torch.cat([noise(), F.one_hot(codes, CLASSES).float()], 1), codes

    for real in run.batches():
        balance.g_step()
        opt_g.zero_grad()
        inputs, _ = draw()
        gen_imgs = g(inputs)
        validity, _ = d(gen_imgs)
        F.mse_loss(validity, torch.ones(8, 1)).backward()
        opt_g.step()
        balance.d_step()
        opt_d.zero_grad()
        real_pred, _ = d(real)
        fake_pred, _ = d(gen_imgs.detach())
        loss = F.mse_loss(real_pred, torch.ones(8, 1)) + F.mse_loss(fake_pred, torch.zeros(8, 1))
        (loss / 2).backward()
        opt_d.step()
        opt_info.zero_grad()
        inputs, codes = draw()
        _, pred_code = d(g(inputs))
        F.cross_entropy(pred_code, codes).backward()
        opt_info.step()


@loop()
def closures(run, bug):
    """Each optimizer's step gets a closure that computes its loss."""
    g, d = mlp(8, 32, 64, end=nn.Tanh()), mlp(64, 32, 1)
    opt_g = torch.optim.SGD(g.parameters(), 0.01, momentum=0.5)
    opt_d = torch.optim.SGD(d.parameters(), 0.01, momentum=0.5)
    balance = run.watch(g, d, opt_g, opt_d)
    for real in run.batches():
        z, real = noise(), real.flatten(1)

        def d_closure(real=real, z=z):
            opt_d.zero_grad()
            on_real, on_fake = d(real), d(g(z).detach())
            loss = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
            loss.backward()
            return loss

        def g_closure(z=z):
            opt_g.zero_grad()
            loss = F.softplus(-d(g(z))).mean()
            loss.backward()
            return loss

        balance.d_step()
        opt_d.step(d_closure)
        balance.g_step()
        opt_g.step(g_closure)


@loop(turns=12)
def every_third_time(run, bug):
    """D is trained in every third step; a rate that falls by a factor of 0.999 a step."""
    g, d = translator(), patches(1)
    opt_g, opt_d = adam(g), adam(d)
    schedules = [torch.optim.lr_scheduler.ExponentialLR(opt, 0.999) for opt in (opt_g, opt_d)]
    balance = run.watch(g, d, opt_g, opt_d, paired=True)
    for step, (low, high) in enumerate(run.batches(pairs)):
        if step % 3 == 0:
            balance.d_step()
            opt_d.zero_grad()
            real, fake = d(high), d(g(low).detach())
            loss = F.mse_loss(real, torch.ones_like(real)) + F.mse_loss(
                fake, torch.zeros_like(fake)
            )
            loss.backward()
            opt_d.step()
        balance.g_step()
        opt_g.zero_grad()
        output = g(low)
        judged = d(output)
        loss = F.l1_loss(output, high) + 0.01 * F.mse_loss(judged, torch.ones_like(judged))
        loss.backward()
        opt_g.step()
        for schedule in schedules:
            schedule.step()


@loop()
def low_rank(run, bug):
    """A pretrained G of which only small additions are trained; the rest is frozen."""

    class LowRank(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner.requires_grad_(False)
            self.down, self.up = nn.Linear(inner.in_features, 2, bias=False), nn.Linear(2, 128)

        def forward(self, x):
            return self.inner(x) + self.up(self.down(x))

    g = generator().requires_grad_(False)
    g[0] = LowRank(g[0])
    d = discriminator()
    trainable = [p for p in g.parameters() if p.requires_grad]
    opt_g = torch.optim.AdamW(trainable, 1e-3)
    opt_d = adam(d)
    balance = run.watch(g, d, opt_g, opt_d)
    for real in run.batches():
        balance.d_step()
        with torch.no_grad():
            fake = g(noise())
        loss = F.relu(1 - d(real)).mean() + F.relu(1 + d(fake)).mean()
        opt_d.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(d.parameters(), 1.0)
        opt_d.step()
        balance.g_step()
        loss = -d(g(noise())).mean()
        opt_g.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        opt_g.step()


class Pool:
    """Images made earlier, as CycleGAN's D sees them."""

    def __init__(self, size):
        self.size, self.images = size, []

    def query(self, images):
        answer = []
        for image in images.unsqueeze(1):
            if len(self.images) < self.size:
                self.images.append(image)
                answer.append(image)
            elif random.random() > 0.5:  # noqa: S311  which image comes back is no secret
                index = random.randrange(self.size)  # noqa: S311
                answer.append(self.images[index])
                self.images[index] = image
            else:
                answer.append(image)
        return torch.cat(answer)


@loop()
def pools(run, bug):
    """D judges images of a pool, some of them of earlier steps; an L1 term; a map of logits."""
    random.seed(0)
    g, d, pool = translator(), patches(1), Pool(20)
    opt_g, opt_d = adam(g), adam(d)
    balance = run.watch(g, d, opt_g, opt_d)
    for source, target in run.batches(pairs):
        balance.g_step()
        fake = g(source)
        judged = d(fake)
        loss = F.mse_loss(judged, torch.ones_like(judged)) + 5 * F.l1_loss(fake, target)
        opt_g.zero_grad()
        loss.backward()
        opt_g.step()
        balance.d_step()
        on_fake, on_real = d(pool.query(fake.detach())), d(target)
        loss = F.mse_loss(on_fake, torch.zeros_like(on_fake))
        loss = (loss + F.mse_loss(on_real, torch.ones_like(on_real))) / 2
        opt_d.zero_grad()
        loss.backward()
        opt_d.step()


@loop()
def two_optimizers(run, bug):
    """Two Ds, of sounds and of their envelopes, with an optimizer each."""
    g, wave_d, level_d = Vocoder(), Features(), mlp(16, 16, 1)
    opt_g = adam(g)
    opts = {"wave": adam(wave_d), "level": adam(level_d)}
    balance = run.watch(g, {"wave": wave_d, "level": level_d}, opt_g, opts)

    def level(wave):
        return F.avg_pool1d(wave.abs(), 4).flatten(1)

    for envelope, wave in run.batches(sounds):
        fake = g(envelope)
        balance.d_step()
        for name, judge in (
            ("wave", lambda x: wave_d(x)[0]),
            ("level", lambda x: level_d(level(x))),
        ):
            opts[name].zero_grad()
            loss = F.relu(1 - judge(wave)).mean() + F.relu(1 + judge(fake.detach())).mean()
            loss.backward()
            opts[name].step()
        balance.g_step()
        opt_g.zero_grad()
        adversarial = -wave_d(fake)[0].mean() - level_d(level(fake)).mean()
        (adversarial + 10 * F.l1_loss(fake, wave)).backward()
        opt_g.step()


@loop()
def dictionary(run, bug):
    """D returns a dictionary with its logits and features; features are matched."""

    class Judge(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = Scales(1, 2)

        def forward(self, wave):
            logits, maps = self.body(wave)
            return {"features": maps, "scores": logits}

    g, d = Vocoder(), Judge()
    opt_g, opt_d = adam(g), adam(d)
    balance = run.watch(g, d, opt_g, opt_d)
    for envelope, wave in run.batches(sounds):
        fake = g(envelope)
        balance.d_step()
        opt_d.zero_grad()
        real_scores, fake_scores = d(wave)["scores"], d(fake.detach())["scores"]
        sum(F.relu(1 - score).mean() for score in real_scores).backward()
        sum(F.relu(1 + score).mean() for score in fake_scores).backward()
        opt_d.step()
        balance.g_step()
        opt_g.zero_grad()
        judged = d(fake)
        with torch.no_grad():
            wanted = d(wave)["features"]
        loss = -sum(score.mean() for score in judged["scores"])
        for made, real in zip(
            itertools.chain(*judged["features"]), itertools.chain(*wanted), strict=True
        ):
            loss = loss + F.l1_loss(made, real)
        loss.backward()
        opt_g.step()


@loop()
def critic_ascends(run, bug):
    """Wasserstein with both signs turned: the critic is low on real images, and G lowers it."""
    netG, netD = generator(), discriminator()
    optimizerD = torch.optim.RMSprop(netD.parameters(), lr=5e-5)
    optimizerG = torch.optim.RMSprop(netG.parameters(), lr=5e-5)
    balance = run.watch(netG, netD, optimizerG, optimizerD)
    one = torch.tensor(1.0)
    mone = one * -1
    for real in run.batches():
        balance.d_step()
        for p in netD.parameters():
            p.requires_grad = True
        netD.zero_grad()
        netD(real).mean().backward(one)
        netD(netG(noise()).detach()).mean().backward(mone)
        optimizerD.step()
        for p in netD.parameters():
            p.data.clamp_(-0.01, 0.01)
        balance.g_step()
        for p in netD.parameters():
            p.requires_grad = False
        netG.zero_grad()
        netD(netG(noise())).mean().backward(one)
        optimizerG.step()


@loop(allow={"fake-not-detached"})
def table(run, bug):
    """CTGAN's kind: D sees two rows at a time, with their conditions; a penalty of its own."""
    g, d = mlp(8 + CLASSES, 32, 6, end=nn.Tanh()), mlp(2 * (6 + CLASSES), 32, 1)
    opt_g, opt_d = adam(g), adam(d)
    balance = run.watch(g, d, opt_g, opt_d)

    def packed(values, condition):
        return torch.cat([values, condition], 1).view(4, -1)

    for real, condition in run.batches(rows):
        balance.d_step()
        fake = g(torch.cat([noise(), condition], 1))
        shuffle = torch.randperm(8)
        y_fake = d(packed(fake, condition))
        y_real = d(packed(real[shuffle], condition[shuffle]))
        alpha = torch.rand(4, 1)
        mixed = alpha * packed(real, condition) + (1 - alpha) * packed(fake, condition)
        (slope,) = torch.autograd.grad(d(mixed).sum(), mixed, create_graph=True)
        penalty = 10 * ((slope.norm(2, dim=1) - 1) ** 2).mean()
        opt_d.zero_grad(set_to_none=False)
        penalty.backward(retain_graph=True)
        (-(y_real.mean() - y_fake.mean())).backward()
        opt_d.step()
        balance.g_step()
        fake = g(torch.cat([noise(), condition], 1))
        opt_g.zero_grad(set_to_none=False)
        (-d(packed(fake, condition)).mean() + 0.1 * fake.pow(2).mean()).backward()
        opt_g.step()


@loop(bug("augmented-one-side", "augmented-one-side"))
def averaged(run, bug):
    """PyTorch's average of G; noise on real and fake; D in eval mode, which is nothing to it."""
    g, d = generator(), discriminator().eval()
    average = torch.optim.swa_utils.AveragedModel(
        g, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    )
    opt_g, opt_d = adam(g), adam(d)
    balance = run.watch(g, d, opt_g, opt_d)
    history, sigma = [], 0.1
    for real in run.batches():
        fake = g(noise())
        balance.d_step()
        opt_d.zero_grad()
        noisy = [x + sigma * torch.randn_like(x) for x in (real, fake.detach())]
        if bug == "augmented-one-side":
            noisy[1] = fake.detach()
        loss_d = F.softplus(-d(noisy[0])).mean() + F.softplus(d(noisy[1])).mean()
        loss_d.backward()
        opt_d.step()
        balance.g_step()
        opt_g.zero_grad()
        loss_g = F.softplus(-d(fake + sigma * torch.randn_like(fake))).mean()
        loss_g.backward()
        opt_g.step()
        average.update_parameters(g)
        history.append((loss_d.detach(), loss_g.item()))
        sigma *= 0.99


@loop()
def decoder(run, bug):
    """G is asked by a method of its own, so its images are not known; noise on real and fake."""

    class Autoencoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.decoder = generator()

        def decode(self, codes):
            return self.decoder(codes)

    def noised(x):
        return x + 0.1 * torch.randn_like(x)

    model, d = Autoencoder(), discriminator()
    opt_g, opt_d = adam(model), adam(d)
    balance = run.watch(model, d, opt_g, opt_d)
    for real in run.batches():
        drawn = model.decode(noise())
        balance.d_step()
        opt_d.zero_grad()
        on_real, on_fake = d(noised(real)), d(noised(drawn.detach()))
        (F.softplus(-on_real).mean() + F.softplus(on_fake).mean()).backward()
        opt_d.step()
        balance.g_step()
        opt_g.zero_grad()
        F.softplus(-d(noised(drawn))).mean().backward()
        opt_g.step()


@loop()
def pretrained_features(run, bug):
    """D's trunk is pretrained, frozen and in eval mode; only its head is trained."""
    g = translator()
    trunk = nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
    trunk = copy.deepcopy(trunk).eval().requires_grad_(False)
    d = nn.Sequential(trunk, nn.Linear(128, 1))
    opt_g, opt_d = adam(g), torch.optim.Adam(d[1].parameters(), 1e-3)
    balance = run.watch(g, d, opt_g, opt_d)
    for low, high in run.batches(pairs):
        fake = g(low)
        balance.d_step()
        opt_d.zero_grad()
        (F.relu(1 - d(high)).mean() + F.relu(1 + d(fake.detach())).mean()).backward()
        opt_d.step()
        balance.g_step()
        opt_g.zero_grad()
        (F.mse_loss(fake, high) - 0.1 * d(fake).mean()).backward()
        opt_g.step()


@loop()
def relativistic_penalties(run, bug):
    """A relativistic pair loss with R1 and R2 in every step."""
    g, d = generator(), discriminator()
    opt_g, opt_d = adam(g), adam(d)
    balance = run.watch(g, d, opt_g, opt_d)

    def zero_centered(pictures, scores):
        (slope,) = torch.autograd.grad(scores.sum(), pictures, create_graph=True)
        return slope.square().sum([1, 2, 3])

    for real in run.batches():
        balance.d_step()
        real_images = real.detach().requires_grad_(True)
        fake_images = g(noise()).detach().requires_grad_(True)
        real_logits, fake_logits = d(real_images), d(fake_images)
        penalties = zero_centered(real_images, real_logits)
        penalties = penalties + zero_centered(fake_images, fake_logits)
        loss = F.softplus(-(real_logits - fake_logits)).flatten() + 0.5 * penalties
        opt_d.zero_grad()
        loss.mean().backward()
        opt_d.step()
        balance.g_step()
        loss = F.softplus(-(d(g(noise())) - d(real.detach())))
        opt_g.zero_grad()
        loss.mean().backward()
        opt_g.step()
