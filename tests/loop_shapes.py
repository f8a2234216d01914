"""Right loops as people write them: a turn each, and the networks that some need."""

import torch
from torch import nn

from loop_helpers import Loop, bce, small_networks, update


def plain(loop, balance):
    loop.turn(balance)


def generator_first(loop, balance):
    """PyTorch-GAN's order: the images of G's part are D's fakes afterwards."""
    real, noise = loop.batch()
    balance.g_step()
    fake = loop.g(noise)
    loop.g_part(fake)
    balance.d_step()
    loop.d_part(real, fake)


def esrgan(loop, balance):
    """Relativistic, with a content loss, and D's gradients switched off in G's part."""
    real, noise = loop.batch()
    balance.g_step()
    loop.d.requires_grad_(False)
    fake = loop.g(noise)
    on_real, on_fake = loop.d(real).detach(), loop.d(fake)
    adversarial = bce(on_real - on_fake.mean(), 0.0) + bce(on_fake - on_real.mean(), 1.0)
    update(loop.g_optimizer, (fake - real).abs().mean() + 5e-3 * adversarial / 2)
    loop.d.requires_grad_(True)
    balance.d_step()
    loop.d_optimizer.zero_grad()
    on_fake = loop.d(fake).detach()
    on_real = loop.d(real)
    (bce(on_real - on_fake.mean(), 1.0) * 0.5).backward()
    on_fake = loop.d(fake.detach())
    (bce(on_fake - on_real.detach().mean(), 0.0) * 0.5).backward()
    loop.d_optimizer.step()
    loop.note(on_real, on_fake)


def least_squares(on_real, on_fake):
    return (on_real - 1).square().mean() + on_fake.square().mean()


# Later than a D that never learns would be reported.
LATE = 8


def d_begins_later(loop, balance):
    """VQGAN: until then, what D says has a weight of 0; and a content loss is beside it."""
    weight = float(loop.turns >= LATE)
    real, fake = loop.images()
    balance.d_step()
    on_real, on_fake = loop.d(real), loop.d(fake.detach())
    loop.note(on_real, on_fake)
    update(loop.d_optimizer, weight * loop.d_loss(on_real, on_fake))
    balance.g_step()
    content = (fake - real).square().mean()
    update(loop.g_optimizer, content + weight * loop.g_loss(loop.d(fake)))


def late_by_name(*, halves):
    """VQGAN, G first, and what is what is said: D's outputs, or the halves of its loss."""

    def turn(loop, balance):
        weight = float(loop.turns >= LATE)
        real, fake = loop.images()
        with balance.g_step() as step:
            on_fake = loop.d(fake)
            step.logits(fake=on_fake)
            content = (fake - real).square().mean()
            update(loop.g_optimizer, content + weight * loop.g_loss(on_fake))
        with balance.d_step() as step:
            on_real, on_fake = loop.d(real), loop.d(fake.detach())
            loss_real, loss_fake = weight * bce(on_real, 1.0), weight * bce(on_fake, 0.0)
            if halves:
                loss = step.loss(real=loss_real, fake=loss_fake)
            else:
                step.logits(real=on_real, fake=on_fake)
                loss = loss_real + loss_fake
            update(loop.d_optimizer, loss)

    return turn


def with_a_closure(loop, balance):
    real, fake = loop.images()
    balance.d_step()

    def closure():
        loop.d_optimizer.zero_grad()
        on_real, on_fake = loop.d(real), loop.d(fake.detach())
        loop.note(on_real, on_fake)
        loss = loop.d_loss(on_real, on_fake)
        loss.backward()
        return loss

    loop.d_optimizer.step(closure)
    balance.g_step()
    loop.g_part(fake)


def a_step_for_each_half(loop, balance):
    real, fake = loop.images()
    balance.d_step()
    on_real = loop.d(real)
    update(loop.d_optimizer, bce(on_real, 1.0))
    on_fake = loop.d(fake.detach())
    update(loop.d_optimizer, bce(on_fake, 0.0))
    loop.note(on_real, on_fake)
    balance.g_step()
    loop.g_part(fake)


def both_step_at_the_end(loop, balance):
    """D's outputs are run back through again in G's part."""
    real, fake = loop.images()
    balance.d_step()
    loop.d_optimizer.zero_grad()
    on_real, on_fake = loop.d(real), loop.d(fake)
    loop.note(on_real, on_fake)
    loss = loop.d_loss(on_real, on_fake)
    loss.backward(inputs=list(loop.d.parameters()), retain_graph=True)
    balance.g_step()
    loop.g_optimizer.zero_grad()
    loop.g_loss(on_fake).backward(inputs=list(loop.g.parameters()))
    loop.d_optimizer.step()
    loop.g_optimizer.step()


def accumulated(loop, balance):
    """Both networks step in every fourth turn."""
    real, fake = loop.images()
    balance.d_step()
    on_real, on_fake = loop.d(real), loop.d(fake.detach())
    loop.note(on_real, on_fake)
    (loop.d_loss(on_real, on_fake) / 4).backward()
    if loop.turns % 4 == 3:
        loop.d_optimizer.step()
        loop.d_optimizer.zero_grad()
    balance.g_step()
    loop.d.requires_grad_(False)
    (loop.g_loss(loop.d(fake)) / 4).backward()
    loop.d.requires_grad_(True)
    if loop.turns % 4 == 3:
        loop.g_optimizer.step()
        loop.g_optimizer.zero_grad()


def g_first_accumulated(loop, balance):
    real, fake = loop.images()
    balance.g_step()
    (loop.g_loss(loop.d(fake)) / 4).backward(inputs=list(loop.g.parameters()))
    if loop.turns % 4 == 3:
        loop.g_optimizer.step()
        loop.g_optimizer.zero_grad()
    balance.d_step()
    (loop.d_loss(loop.d(real), loop.d(fake.detach())) / 4).backward()
    if loop.turns % 4 == 3:
        loop.d_optimizer.step()
        loop.d_optimizer.zero_grad()


def one_pass_on_both(loop, balance):
    real, fake = loop.images()
    with balance.d_step() as step:
        outputs = loop.d(torch.cat([real, fake.detach()]))
        step.logits(real=outputs[:8], fake=outputs[8:])
        loop.note(outputs[:8], outputs[8:])
        labels = torch.cat([torch.ones(8, 1), torch.zeros(8, 1)])
        update(loop.d_optimizer, loop.criterion(outputs, labels))
    with balance.g_step():
        loop.g_part(fake)


def mixed_precision(loop, balance):
    """AMP: the losses are scaled by so much that what is recorded would show it."""
    real, noise = loop.batch()
    with torch.autocast("cpu", torch.bfloat16):
        fake = loop.g(noise)
        balance.d_step()
        on_real, on_fake = loop.d(real), loop.d(fake.detach())
        loop.note(on_real.float(), on_fake.float())
        loop.d_optimizer.zero_grad()
        loop.scaler.scale(loop.d_loss(on_real, on_fake)).backward()
        loop.scaler.step(loop.d_optimizer)
        balance.g_step()
        loop.g_optimizer.zero_grad()
        loss = loop.g_loss(loop.d(fake))
        loop.scaler.scale(loss).backward()
        loop.scaler.step(loop.g_optimizer)
    loop.scaler.update()
    loop.g_losses = [*getattr(loop, "g_losses", []), float(loss.detach())]


class Scaled(Loop):
    def __init__(self):
        super().__init__()
        self.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)


class InType(Loop):
    """All in another type; spectral normalisation needs float32 or more."""

    def __init__(self, dtype):
        g, d = small_networks()
        d[0] = nn.Conv2d(1, 4, 4, 2, 1)
        super().__init__(g=g.to(dtype), d=d.to(dtype))
        self.dtype = dtype

    def batch(self):
        return tuple(each.to(self.dtype) for each in super().batch())


def settled():
    """Where D says less than 0 of fakes, its own least-squares loss and G's both pull that up."""
    loop = Loop()
    loop.d_loss = least_squares
    loop.g_loss = lambda on_fake: (on_fake - 1).square().mean()
    with torch.no_grad():
        loop.d[-1].bias -= 2
    loop.d_optimizer.param_groups[0]["lr"] = 1e-5
    return loop


class Joined(nn.Module):
    """A D of something and an image."""

    def __init__(self, join):
        super().__init__()
        self.d, self.join = small_networks()[1], join
        if join is by_label:
            self.embedding = nn.Embedding(10, 64)

    def forward(self, condition, image):
        return self.d(self.join(self, condition, image))


def by_sum(d, condition, image):
    return image + 0.1 * condition


def by_label(d, labels, image):
    return image + d.embedding(labels).view(-1, 1, 8, 8)


def wide_d():
    d = small_networks()[1]
    d[0] = nn.Conv2d(2, 4, 4, 2, 1)
    return d


# How D is asked about an image and a condition.
ASKED = {
    "a condition before the channels": (
        wide_d, lambda d, image, condition: d(torch.cat([condition, image], 1))),
    "a condition behind the channels": (
        wide_d, lambda d, image, condition: d(torch.cat([image, condition], 1))),
    "a condition as the first argument": (
        lambda: Joined(by_sum), lambda d, image, condition: d(condition, image)),
    "labels as the first argument": (
        lambda: Joined(by_label), lambda d, image, condition: d(torch.arange(8), image)),
}  # fmt: skip


def conditional(ask, *, real_first):
    def turn(loop, balance):
        real, noise = loop.batch()
        condition, fake = torch.rand_like(real), loop.g(noise)
        balance.d_step()
        images = [real, fake.detach()] if real_first else [fake.detach(), real]
        answers = [ask(loop.d, each, condition) for each in images]
        on_real, on_fake = answers if real_first else answers[::-1]
        loop.note(on_real, on_fake)
        update(loop.d_optimizer, loop.d_loss(on_real, on_fake))
        balance.g_step()
        update(loop.g_optimizer, loop.g_loss(ask(loop.d, fake, condition)))

    return turn


class Several(nn.Module):
    """A G that is given a list, and gives its images and something else."""

    def __init__(self):
        super().__init__()
        self.g = small_networks()[0]

    def forward(self, styles):
        return self.g(styles[0]), None


def a_tuple_of_g(loop, balance):
    real, noise = loop.batch()
    fake, _ = loop.g([noise])
    balance.d_step()
    loop.d_part(real, fake)
    balance.g_step()
    loop.g_part(fake)


def augmented(*, real_first):
    """For an R1 of the loop's own; and G's images are not detached."""

    def turn(loop, balance):
        real, fake = loop.images()
        balance.d_step()
        images = [0.9 * real.requires_grad_(), 0.9 * fake]
        answers = [loop.d(each) for each in (images if real_first else images[::-1])]
        on_real, on_fake = answers if real_first else answers[::-1]
        loop.note(on_real, on_fake)
        update(loop.d_optimizer, loop.d_loss(on_real, on_fake), retain_graph=True)
        balance.g_step()
        loop.g_part(fake)

    return turn
