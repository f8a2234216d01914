"""Trainings in other styles: methods, closures, functions imported by name, dictionaries."""

import torch
import torch.nn.functional as F
from torch import autograd, nn
from torch.nn.utils import clip_grad_norm_

from loopbugs.common import (
    Conditioned,
    adam,
    bug,
    discriminator,
    generator,
    labelled,
    loop,
    noise,
    pairs,
    translator,
)


class TwoAnswers(nn.Module):
    """Says of images whether they are real, and their features."""

    def __init__(self, outputs=16):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, outputs), nn.LeakyReLU(0.2))
        self.head = nn.Linear(outputs, 1)

    def forward(self, pictures):
        features = self.body(pictures)
        return self.head(features), features


class Training:
    """As Lightning's manual optimisation."""

    def __init__(self, run, bug):
        self.g, self.d, self.bug = generator(), discriminator(), bug
        self.opt_g, self.opt_d = adam(self.g), adam(self.d)
        self.balance = run.watch(self.g, self.d, self.opt_g, self.opt_d)

    def penalty(self, real, fake):
        epsilon = torch.rand(real.size(0), 1, 1, 1)
        if self.bug == "one-number":
            epsilon = torch.rand(1).expand_as(epsilon)
        between = torch.lerp(fake, real, epsilon).requires_grad_()
        answers = self.d(between)
        (slope,) = autograd.grad(
            answers, between, torch.ones_like(answers), retain_graph=True,
            create_graph=self.bug != "no-graph",
        )  # fmt: skip
        norm = slope.view(len(real), -1).norm(2, dim=1)
        if self.bug == "cut":
            norm = norm.detach()
        return ((norm - 1) ** 2).mean()

    def training_step(self, real):
        self.balance.d_step()
        fake = self.g(noise()).detach()
        loss = self.d(fake).mean() - self.d(real).mean() + 10 * self.penalty(real, fake)
        self.opt_d.zero_grad()
        loss.backward()
        self.opt_d.step()
        self.balance.g_step()
        self.opt_g.zero_grad()
        (-self.d(self.g(noise())).mean()).backward()
        self.opt_g.step()


@loop(
    bug("penalty-graph", "penalty-unused", name="no-graph"),
    bug("penalty-graph", "penalty-unused", name="cut"),
    bug("penalty-epsilon", "penalty-epsilon", name="one-number"),
)
def methods(run, bug):
    """Wasserstein with a gradient penalty."""
    training = Training(run, bug)
    for batch in run.batches():
        training.training_step(batch)


@loop(bug("value-ranges", "value-ranges", name="mean-and-deviation"))
def batches_of_names(run, bug):
    """Images in dictionaries, G first."""
    g, d = generator(), discriminator()
    optimizers = {"g": adam(g), "d": adam(d)}
    balance = run.watch(g, d, optimizers["g"], optimizers["d"])
    bce = F.binary_cross_entropy_with_logits
    for pictures in run.batches():
        batch = {"image": pictures}
        if bug == "mean-and-deviation":
            batch["image"] = ((pictures + 1) / 2 - 0.45) / 0.225
        balance.g_step()
        out = {"fake": g(noise())}
        optimizers["g"].zero_grad()
        bce(d(out["fake"]), torch.ones(8, 1)).backward()
        optimizers["g"].step()
        balance.d_step()
        real = batch["image"]
        on_real = d(real)
        on_fake = d(out["fake"].detach())
        optimizers["d"].zero_grad()
        (bce(on_real, torch.ones(8, 1)) + bce(on_fake, torch.zeros(8, 1))).backward()
        optimizers["d"].step()


@loop(
    bug("augmented-one-side", "augmented-one-side", name="not-in-g"),
    bug("augmented-one-side", "augmented-one-side", name="real-alone"),
)
def augmented_alike(run, bug):
    """The loader flips, and all that D sees is flipped, brightened and noised in a function."""
    g, d = generator(), discriminator()
    g_optimizer, d_optimizer = adam(g), adam(d)
    balance = run.watch(g, d, g_optimizer, d_optimizer)

    def augment(x):
        turned = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(-1), x)
        return turned + 0.2 * torch.randn(len(x), 1, 1, 1) + 0.05 * torch.randn_like(x)

    for pictures in run.batches():
        real = pictures.flip(-1) if torch.rand(()) < 0.5 else pictures
        fake = g(noise())
        balance.d_step()
        d_optimizer.zero_grad()
        shown = fake.detach() if bug == "real-alone" else augment(fake.detach())
        on_real, on_fake = d(augment(real)), d(shown)
        (F.softplus(-on_real).mean() + F.softplus(on_fake).mean()).backward()
        d_optimizer.step()
        balance.g_step()
        g_optimizer.zero_grad()
        F.softplus(-d(fake if bug else augment(fake))).mean().backward()
        g_optimizer.step()


@loop(
    bug("clip-early", "clip-after-step", "clip-nothing"),
    bug("clip-late", "clip-after-step", name="by-hand"),
)
def clipped(run, bug):
    """A critic whose weights and gradients are clipped, where G's loss leaves gradients in it."""
    g, d = generator(), discriminator()
    g_optimizer = torch.optim.RMSprop(g.parameters(), 1e-4)
    d_optimizer = torch.optim.RMSprop(d.parameters(), 1e-4)
    balance = run.watch(g, d, g_optimizer, d_optimizer)

    def train_critic(real):
        if bug == "clip-early":
            clip_grad_norm_(d.parameters(), 1.0)
        d_optimizer.zero_grad()
        (d(g(noise()).detach()).mean() - d(real).mean()).backward()
        if not bug:
            clip_grad_norm_(d.parameters(), 1.0)
        d_optimizer.step()
        for p in d.parameters():
            p.data.clamp_(-0.05, 0.05)
            if bug == "by-hand":
                p.grad.data.clamp_(-0.001, 0.001)

    for real in run.batches():
        balance.d_step()
        train_critic(real)
        balance.g_step()
        g_optimizer.zero_grad()
        (-d(g(noise())).mean()).backward()
        g_optimizer.step()


@loop(
    bug("g-term-detached", "adversarial-without-gradient", name="old-answer"),
    bug("memory-grows", "memory-grows", name="images"),
    bug("rate-gone", "rate-gone", turns=14),
    turns=14,
)
def enhance(run, bug):
    """Super-resolution, D's answer of its own part at hand; a rate that falls once an epoch."""
    g, d = translator(), TwoAnswers()
    g_optimizer, d_optimizer = adam(g), adam(d)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(g_optimizer, 0.9)
    balance = run.watch(g, d, g_optimizer, d_optimizer)
    bce, one, zero = nn.BCEWithLogitsLoss(), torch.ones(8, 1), torch.zeros(8, 1)
    shown = []
    for step, (low, high) in enumerate(run.batches(pairs)):
        sr = g(low)
        balance.d_step()
        on_fake, _ = d(sr.detach())
        d_optimizer.zero_grad()
        (bce(d(high)[0], one) + bce(on_fake, zero)).backward()
        d_optimizer.step()
        balance.g_step()
        again = on_fake.detach() if bug == "old-answer" else d(sr)[0]
        g_optimizer.zero_grad()
        (F.l1_loss(sr, high) + 0.01 * bce(again, one)).backward()
        g_optimizer.step()
        shown.append(sr if bug == "images" else sr.detach())
        if bug == "rate-gone" or step % 100 == 99:
            scheduler.step()


@loop(
    bug("hinge-on-sigmoid", "hinge-on-sigmoid"),
    bug("hinge-in-g", "hinge-in-g"),
)
def features_beside(run, bug):
    """A hinge over both halves at once, by labels; D's features are matched."""
    g, d = generator(), TwoAnswers()
    g_optimizer, d_optimizer = adam(g), adam(d)
    balance = run.watch(g, d, g_optimizer, d_optimizer)
    signs = torch.cat([torch.ones(8, 1), -torch.ones(8, 1)])
    for real in run.batches():
        balance.d_step()
        scores = torch.cat([d(real)[0], d(g(noise()).detach())[0]])
        if bug == "hinge-on-sigmoid":
            scores = scores.sigmoid()
        d_optimizer.zero_grad()
        F.relu(1 - scores * signs).mean().backward()
        d_optimizer.step()
        balance.g_step()
        score, features = d(g(noise()))
        with torch.no_grad():
            wanted = d(real)[1].mean(0)
        adversarial = F.relu(1 - score).mean() if bug == "hinge-in-g" else -score.mean()
        g_optimizer.zero_grad()
        (adversarial + F.l1_loss(features.mean(0), wanted)).backward()
        g_optimizer.step()


@loop(
    bug("scaler-loss", "scaler-bypassed", name="mixed"),
    bug("scaler-loss", "scaler-bypassed", name="not-scaled"),
)
def closures_with_a_scaler(run, bug):
    """One scaler; each network has a function of its own."""
    g, d = generator(), discriminator()
    g_optimizer, d_optimizer = adam(g), adam(d)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    balance = run.watch(g, d, g_optimizer, d_optimizer, grad_scaler=scaler)

    def d_part(real):
        d_optimizer.zero_grad()
        loss_real, loss_fake = F.softplus(-d(real)).mean(), F.softplus(d(g(noise()))).mean()
        if bug == "mixed":
            (scaler.scale(loss_real) + loss_fake).backward(inputs=list(d.parameters()))
        else:
            scaler.scale(loss_real + loss_fake).backward(inputs=list(d.parameters()))
        scaler.step(d_optimizer)

    def g_part():
        g_optimizer.zero_grad()
        loss = F.softplus(-d(g(noise()))).mean()
        (loss if bug == "not-scaled" else scaler.scale(loss)).backward()
        scaler.step(g_optimizer)
        scaler.update()

    for real in run.batches():
        with balance.d_step():
            d_part(real)
        with balance.g_step():
            g_part()


@loop(bug("softmax-twice", "softmax-twice"))
def classes_at_once(run, bug):
    """D's features are classes; those of real images and of G's go into one loss."""
    g, d = Conditioned(generator(16), 8), TwoAnswers(4)
    g_optimizer, d_optimizer = adam(g), adam(d)
    balance = run.watch(g, d, g_optimizer, d_optimizer)
    bce, cross_entropy = nn.BCEWithLogitsLoss(), nn.CrossEntropyLoss()
    for real, classes in run.batches(labelled):
        fake = g(noise(), classes)
        balance.d_step()
        (on_real, real_classes), (on_fake, fake_classes) = d(real), d(fake.detach())
        told = torch.cat([real_classes, fake_classes])
        if bug == "softmax-twice":
            told = told.softmax(1)
        loss = bce(on_real, torch.ones(8, 1)) + bce(on_fake, torch.zeros(8, 1))
        d_optimizer.zero_grad()
        (loss + cross_entropy(told, torch.cat([classes, classes]))).backward()
        d_optimizer.step()
        balance.g_step()
        on_fake, fake_classes = d(fake)
        g_optimizer.zero_grad()
        (bce(on_fake, torch.ones(8, 1)) + cross_entropy(fake_classes, classes)).backward()
        g_optimizer.step()


@loop(turns=40)
def every_third_left_out(run, bug):
    """D judges in every turn, and is trained in two of three."""
    g, d = generator(), discriminator()
    g_optimizer, d_optimizer = adam(g), adam(d)
    balance = run.watch(g, d, g_optimizer, d_optimizer)
    for step, real in enumerate(run.batches()):
        balance.d_step()
        d_optimizer.zero_grad()
        loss = F.softplus(-d(real)).mean() + F.softplus(d(g(noise()).detach())).mean()
        if step % 3 < 2:
            loss.backward()
            d_optimizer.step()
        balance.g_step()
        g_optimizer.zero_grad()
        F.softplus(-d(g(noise()))).mean().backward()
        g_optimizer.step()
