"""One small training, printed now and then, and measured at every step.

`train` returns what the loop would print (`rows`) and, apart from it, what really happened
(`truth`): the labels rest on the second alone.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from objectives import OBJECTIVES
from tasks import TASKS, Task, high_frequency, mean_distance
from torch import Tensor, nn

# The last quarter of as many as are spread over a training.
EVALUATIONS, LAST_EVALUATIONS = 40, 10
# What some programs print as means over the steps since the last line.
AVERAGED = ("g_loss", "d_loss", "real_logit", "fake_logit", "real_sign", "fake_sign")


@dataclass(frozen=True)
class Settings:
    """One training. Everything that a cause may change is here."""

    task: str
    objective: str
    seed: int
    steps: int = 2400
    batch: int = 64
    log_every: int = 20
    g_learning_rate: float = 1e-3
    d_learning_rate: float = 1e-3
    beta1: float = 0.5
    g_width: int = 128
    d_width: int = 128
    adversarial_weight: float = 1.0
    content_weight: float = 0.0  # of the squared error, where the task is paired
    gradient_penalty: float = 0.0
    r1: float = 0.0
    instance_noise: float = 0.0
    d_every: int = 1  # D is trained in every so many steps; 0: never
    gate: float | None = None  # the loss gate of the question; the halves are doubled before it
    freeze_from: float = 2.0  # D is not trained from this share of the steps on
    train_images: int = 0
    noise_scale: float = 1.0  # of G's input
    linear_output: bool = False  # G without a sigmoid at its end, for `digits`
    zero_border: bool = False  # G's images end in a border of zeros
    momentum_sgd: bool = False
    # What is done against a fault (`cure.py`): beside the penalties above.
    label_smoothing: float = 0.0  # one-sided, under cross-entropy
    clip: float = 0.0  # the largest norm of each network's gradient
    r2: float = 0.0  # R1's penalty, on fake images
    lecam: float = 0.0
    augment: bool = False  # what D sees: moved by up to a pixel, brighter or darker
    minibatch_deviation: bool = False
    spectral: bool = False  # D's layers are normalised
    break_at: float = 2.0  # D's learning rate is multiplied by `break_by` at this share
    break_by: float = 1.0
    nan_at: float = 2.0  # a real batch has a NaN from this share on (a broken image)
    probes: bool = False  # print held-out, leak, diversity and gradient readings too


@dataclass
class Run:
    """What one training printed, and what was measured."""

    settings: Settings
    rows: list[dict[str, float]]
    truth: dict[str, float]
    policy_acted: int = 0
    every_step: dict[str, np.ndarray] = field(default_factory=dict)


def flat_norm(tensors: list[Tensor]) -> float:
    """Norm of all values together."""
    return torch.stack(torch._foreach_norm(tensors)).norm().item()


def auc(real: Tensor, fake: Tensor) -> float:
    """Probability that D scores a real image above a fake one; ties count half."""
    difference = real.flatten()[:, None] - fake.flatten()[None, :]
    return ((difference > 0).float().mean() + (difference == 0).float().mean() / 2).item()


class _WithDeviation(nn.Module):
    """D with the mean deviation within its batch as one more input (Karras et al. 2018, 3)."""

    def __init__(self, d: nn.Sequential) -> None:
        super().__init__()
        first = d[0]
        d[0] = nn.Linear(first.in_features + 1, first.out_features)
        self.d = d

    def forward(self, images: Tensor) -> Tensor:
        deviation = images.std(dim=0).mean().expand(len(images), 1)
        return self.d(torch.cat([images, deviation], dim=1))


def discriminator(task: Task, s: Settings) -> nn.Module:
    """D as the settings want it."""
    d = task.discriminator(s.d_width)
    for layer in d if s.spectral else ():
        if hasattr(layer, "weight"):
            torch.nn.utils.parametrizations.spectral_norm(layer)
    return _WithDeviation(d) if s.minibatch_deviation else d


def augmented(images: Tensor, side: int, draw: torch.Generator) -> Tensor:
    """Images moved by up to a pixel each way, and made brighter or darker (Zhao et al. 2020)."""
    square = F.pad(images.unflatten(1, (side, side)), (1, 1, 1, 1))
    offset = torch.randint(3, (2, len(images), 1), generator=draw)
    rows, columns = offset + torch.arange(side)
    moved = square[torch.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None]]
    light = 0.5 * torch.rand(len(images), 1, 1, generator=draw) - 0.25
    return (moved + light).flatten(1)


def _penalty(d: nn.Module, images: Tensor, centre: float) -> Tensor:
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(d(images).sum(), images, create_graph=True)
    return (gradient.norm(dim=1) - centre).square().mean()


def _bordered(images: Tensor, side: int, mode: str) -> Tensor:
    """Images whose outermost pixels are overwritten: with zeros, or with their inner neighbours."""
    square = images.unflatten(1, (1, side, side))
    return F.pad(square[..., 1:-1, 1:-1], (1, 1, 1, 1), mode=mode).flatten(1)


def oracle_accuracy(task: Task, generator: nn.Module) -> float:
    """What a fresh, ordinary discriminator can tell apart after the training, on unseen data.

    This says whether a D at chance has nothing left to see or fails to see it.
    """
    torch.manual_seed(123)
    d = task.discriminator(8 if task.paired else 128)
    optimizer = torch.optim.Adam(d.parameters(), 1e-3)
    draw = torch.Generator().manual_seed(321)
    for _ in range(300):
        source, real = task.batch(64, draw)
        with torch.no_grad():
            fake = generator(source)
        if not fake.isfinite().all():
            return math.nan
        optimizer.zero_grad()
        (F.softplus(-d(real)).mean() + F.softplus(d(fake)).mean()).backward()
        optimizer.step()
    source, real = task.held_out()
    with torch.no_grad():
        right = (d(real) > 0).float().mean() + (d(generator(source)) < 0).float().mean()
    return right.item() / 2


def train(s: Settings, *, ask_oracle: bool = True) -> Run:
    """Train as told; takes seconds. Deterministic on one machine with one thread."""
    objective = OBJECTIVES[s.objective]
    torch.manual_seed(s.seed)
    draw = torch.Generator().manual_seed(1000 + s.seed)
    task = TASKS[s.task](train_images=s.train_images)
    network = task.generator(s.g_width, s.linear_output)

    def generate(source: Tensor) -> Tensor:
        fake = network(source if task.paired else source * s.noise_scale)
        return _bordered(fake, task.image_side, "constant") if s.zero_border else fake

    generator = _Called(network, generate)
    d = discriminator(task, s)
    real_mean, fake_mean = torch.zeros(()), torch.zeros(())  # LeCam's

    def seen_by_d(images: Tensor) -> Tensor:
        if s.instance_noise:
            images = images + s.instance_noise * torch.randn(images.shape, generator=draw)
        return augmented(images, task.image_side, draw) if s.augment else images

    def adam(parameters: list[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
        if s.momentum_sgd:
            return torch.optim.SGD(parameters, learning_rate, momentum=0.9)
        return torch.optim.Adam(parameters, learning_rate, betas=(s.beta1, 0.999))

    g_parameters, d_parameters = list(network.parameters()), list(d.parameters())
    g_optimizer = adam(g_parameters, s.g_learning_rate)
    d_optimizer = adam(d_parameters, s.d_learning_rate)
    rows: list[dict[str, float]] = []
    measured: dict[str, list[float]] = {}
    evaluations: list[dict[str, float]] = []
    evaluate_every = max(1, s.steps // EVALUATIONS)
    since_print: list[dict[str, float]] = []

    for step in range(1, s.steps + 1):
        printing = step % s.log_every == 0
        source, real = task.batch(s.batch, draw)
        if step >= s.nan_at * s.steps:
            real = real.clone()
            real[0, 0] = math.nan
        if step == int(s.break_at * s.steps):
            for group in d_optimizer.param_groups:
                group["lr"] *= s.break_by

        # D's step.
        fake = generate(source)
        d_real_in, d_fake_in = seen_by_d(real), seen_by_d(fake.detach())
        real_logits, fake_logits = d(d_real_in).flatten(), d(d_fake_in).flatten()
        d_real_loss, d_fake_loss = objective.d_loss(real_logits, fake_logits)
        if s.label_smoothing:  # as cross-entropy with such a label
            d_real_loss = d_real_loss + s.label_smoothing * real_logits.mean()
        halves = [d_real_loss, d_fake_loss]
        if s.gate is not None:
            halves = [half for half in halves if 2 * half.item() > s.gate]
        frozen = s.d_every == 0 or step % s.d_every or step >= s.freeze_from * s.steps
        penalty = None
        if not frozen and halves:
            before = [p.detach().clone() for p in d_parameters]
            d_optimizer.zero_grad()
            total = sum(halves[1:], start=halves[0])
            if s.gradient_penalty:
                mix = torch.rand(len(real), 1, generator=draw)
                penalty = _penalty(d, mix * real + (1 - mix) * fake.detach(), 1.0)
                total = total + s.gradient_penalty * penalty
            if s.r1:
                penalty = _penalty(d, real, 0.0)
                total = total + s.r1 / 2 * penalty
            if s.r2:
                total = total + s.r2 / 2 * _penalty(d, fake, 0.0)
            if s.lecam:
                real_mean = 0.99 * real_mean + 0.01 * real_logits.detach().mean()
                fake_mean = 0.99 * fake_mean + 0.01 * fake_logits.detach().mean()
                pull = (real_logits - fake_mean).square() + (fake_logits - real_mean).square()
                total = total + s.lecam * pull.mean()
            total.backward()
            d_gradient_norm = flat_norm([p.grad for p in d_parameters])
            if s.clip:
                nn.utils.clip_grad_norm_(d_parameters, s.clip)
            d_optimizer.step()
            moved = torch._foreach_sub([p.detach() for p in d_parameters], before)
            d_moved = flat_norm(list(moved))
        else:
            d_gradient_norm, d_moved = 0.0, 0.0

        # G's step.
        after_logits = d(seen_by_d(fake)).flatten()
        real_again = d(d_real_in).flatten() if objective.compares else real_logits
        adversarial = s.adversarial_weight * objective.g_loss(real_again.detach(), after_logits)
        (slope,) = torch.autograd.grad(adversarial, after_logits, retain_graph=True)
        (g_adversarial,) = torch.autograd.grad(adversarial, fake, retain_graph=True)
        gradient = g_adversarial
        content, content_norm = None, math.nan
        if task.paired and s.content_weight:
            content = s.content_weight * (fake - real).square().mean()
            (g_content,) = torch.autograd.grad(content, fake, retain_graph=True)
            gradient, content_norm = gradient + g_content, g_content.norm().item()
        g_optimizer.zero_grad()
        fake.backward(gradient)
        g_gradient_norm = flat_norm([p.grad for p in g_parameters])
        if s.clip:
            nn.utils.clip_grad_norm_(g_parameters, s.clip)
        g_optimizer.step()

        # What happened.
        with torch.no_grad():
            line = _threshold(objective.threshold, real_logits, fake_logits)
            right_real = (real_logits > line).float().mean().item()
            right_fake = (fake_logits < line).float().mean().item()
            g_loss = adversarial.item() + (content.item() if content is not None else 0.0)
            d_loss = d_real_loss.item() + d_fake_loss.item()
            shown = [objective.shown(x).mean().item() for x in (real_logits, fake_logits)]
            shown_after = objective.shown(after_logits).mean().item()
            now = {
                "accuracy": (right_real + right_fake) / 2,
                "real_belief": real_logits.sigmoid().mean().item(),
                "fake_belief": fake_logits.sigmoid().mean().item(),
                "real_sign": real_logits.sign().mean().item(),
                "fake_sign": fake_logits.sign().mean().item(),
                "real_logit": real_logits.mean().item(),
                "fake_logit": fake_logits.mean().item(),
                "d_updated": float(d_moved != 0.0),
                # Mean over the batch of |d loss / d logit|, 1 for a loss of slope 1.
                "slope": slope.abs().sum().item() / max(s.adversarial_weight, 1e-30),
                "g_adversarial_norm": g_adversarial.norm().item(),
                "g_content_norm": content_norm,
                "g_loss": g_loss,
                "d_loss": d_loss,
                "gate_acted": float(s.gate is not None and len(halves) < 2),
            }
        for name, value in now.items():
            measured.setdefault(name, []).append(value)
        since_print.append(now)
        if step % evaluate_every == 0 and step > s.steps - LAST_EVALUATIONS * evaluate_every:
            evaluations.append(_evaluate(task, generator, d, s, objective.threshold))
        if not printing:
            continue
        averages = {
            f"{name}_average": float(np.mean([one[name] for one in since_print]))
            for name in AVERAGED
        }
        since_print = []
        row = {
            "step": step,
            "g_loss": g_loss,
            **averages,
            "g_adversarial": adversarial.item(),
            "d_loss": d_loss,
            "d_loss_real": d_real_loss.item(),
            "d_loss_fake": d_fake_loss.item(),
            "d_real": shown[0],
            "d_fake_before": shown[1],
            "d_fake_after": shown_after,
            "d_accuracy_real": right_real,
            "d_accuracy_fake": right_fake,
            "auc": auc(real_logits, fake_logits),
            "real_logit_mean": real_logits.mean().item(),
            "real_logit_std": real_logits.std().item(),
            "fake_logit_mean": fake_logits.mean().item(),
            "fake_logit_std": fake_logits.std().item(),
            "d_updated": now["d_updated"],
            "gate_acted": now["gate_acted"],
            "d_learning_rate": d_optimizer.param_groups[0]["lr"],
            "g_learning_rate": s.g_learning_rate,
            "g_gradient_norm": g_gradient_norm,
            "d_gradient_norm": d_gradient_norm,
            "g_gradient_adversarial": now["g_adversarial_norm"],
        }
        if content is not None:
            row |= {"g_content": content.item(), "g_gradient_content": content_norm}
        if penalty is not None:
            row["d_penalty"] = penalty.item()
        if s.probes:
            row |= _readings(task, d, real, fake.detach(), s, objective.threshold)
        rows.append(row)

    arrays = {name: np.array(values) for name, values in measured.items()}
    truth = {name: float(np.median([e[name] for e in evaluations])) for name in evaluations[-1]}
    if ask_oracle:
        truth["oracle_accuracy"] = oracle_accuracy(task, generator)
    return Run(s, rows, truth, int(arrays["gate_acted"].sum()), arrays)


class _Called(nn.Module):
    """The generator together with what the loop does to its input and output."""

    def __init__(self, network: nn.Module, call: object) -> None:
        super().__init__()
        self.network, self.call = network, call

    def forward(self, source: Tensor) -> Tensor:
        return self.call(source)


def _threshold(threshold: float | None, real: Tensor, fake: Tensor) -> Tensor | float:
    return (real.mean() + fake.mean()) / 2 if threshold is None else threshold


def _leaks(task: Task, d: nn.Module, real: Tensor, fake: Tensor) -> dict[str, float]:
    """D's AUC where fakes are put on the 8-bit grid, and where all borders are hidden."""
    values = {"auc": auc(d(real), d(fake))}
    if task.image_side:
        on_grid = (fake.clamp(0, 1) * 255).round() / 255
        values["auc_quantised"] = auc(d(real), d(on_grid))
        hidden = [_bordered(images, task.image_side, "replicate") for images in (real, fake)]
        values["auc_border_hidden"] = auc(d(hidden[0]), d(hidden[1]))
        outside = (fake < real.min()) | (fake > real.max())
        values["fake_out_of_range"] = outside.float().mean().item()
    return values


@torch.no_grad()
def _evaluate(
    task: Task, generator: nn.Module, d: nn.Module, s: Settings, threshold: float | None
) -> dict[str, float]:
    """The full-size measurements, on 512 held-out and 512 training images."""
    source, held_out = task.held_out()
    fake = generator(source)
    _, trained_on = task.batch(512, torch.Generator().manual_seed(5))
    train_logits, held_logits, fake_logits = (d(x).flatten() for x in (trained_on, held_out, fake))
    line = _threshold(threshold, train_logits, fake_logits)
    return {
        **task.quality(generator),
        **_leaks(task, d, trained_on[: len(fake)], fake),
        "train_accuracy": (train_logits > line).float().mean().item(),
        "held_out_accuracy": (held_logits > line).float().mean().item(),
        "fake_accuracy": (fake_logits < line).float().mean().item(),
    }


@torch.no_grad()
def _readings(
    task: Task, d: nn.Module, real: Tensor, fake: Tensor, s: Settings, threshold: float | None
) -> dict[str, float]:
    """The readings of `counterpoise.records.Readings` that this loop can print, of one batch."""
    _, held_out = task.held_out()
    held_logits = d(held_out[:64]).flatten()
    line = _threshold(threshold, d(real).flatten(), d(fake).flatten())
    values = {
        "held_out_logit_mean": held_logits.mean().item(),
        "d_accuracy_held_out": (held_logits > line).float().mean().item(),
    }
    # In super-resolution the outputs differ because the inputs do.
    if task.paired:
        values["high_frequency_ratio"] = high_frequency(fake) / high_frequency(real)
    else:
        values["diversity_ratio"] = mean_distance(fake) / mean_distance(real)
    leaks = _leaks(task, d, real, fake)
    del leaks["auc"]
    return values | leaks
