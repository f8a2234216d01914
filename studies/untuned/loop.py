"""One training: a game, under a stressor, with a strategy."""

import itertools
import math
import random
import time
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from games import GAMES, Batch, Setting
from strategies import Strategy, d_halves, g_loss
from stressors import Stressor
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

import counterpoise as cp

# How often quality is measured along the way.
POINTS = 8
# A learning rate under this share of the user's own counts as low.
LOW_FACTOR = 0.25


class Updates:
    """What an optimizer really did, whoever asked for it: its steps, and their learning rates."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._own_learning_rate = optimizer.param_groups[0]["lr"]
        self.count = self._low = 0
        self.lowest_factor = 1.0
        optimizer.register_step_post_hook(self._after_step)

    def _after_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        lowest = min(group["lr"] for group in optimizer.param_groups)
        factor = lowest / self._own_learning_rate
        self.count += 1
        self.lowest_factor = min(self.lowest_factor, factor)
        self._low += factor < LOW_FACTOR

    def facts(self, network: str) -> dict[str, float]:
        """What goes into the row of results."""
        return {
            f"{network}_updates": self.count,
            f"{network}_lowest_factor": self.lowest_factor,
            f"{network}_share_low": self._low / max(1, self.count),
        }


class DPart(Protocol):
    """What is used of `balance.d_step()`."""

    def logits(self, *, real: Tensor, fake: Tensor, d: str | None = None) -> None: ...
    def loss(self, *, real: Tensor, fake: Tensor, d: str | None = None) -> Tensor: ...


class Unwatched:
    """D's part outside of any Balance."""

    def logits(self, *, real: Tensor, fake: Tensor, d: str | None = None) -> None:
        """Nobody wants to know."""

    def loss(self, *, real: Tensor, fake: Tensor, d: str | None = None) -> Tensor:
        """D's loss as it is."""
        return real + fake


class Training:
    """A game's networks with their optimizers, and the two parts of a turn."""

    def __init__(self, setting: Setting, game: str, stressor: Stressor, strategy: Strategy) -> None:
        self.stressor, self.strategy = stressor, strategy
        self.game = game_ = GAMES[game](setting)
        # A game that pre-trains draws random numbers only the first time in a process.
        torch.manual_seed(setting.seed)
        # The stressor's own, the same for all strategies.
        self._dice = random.Random(setting.seed)  # noqa: S311
        self.form = strategy.form or stressor.form or game_.form
        if strategy.spectral_norm or stressor.spectral_norm:
            for d in game_.ds.values():
                normalise_spectrally(d)
        beta1, beta2 = game_.betas
        betas = (stressor.beta1 or beta1, beta2)
        # One optimizer for all Ds, as is usual.
        d_weights = itertools.chain.from_iterable(d.parameters() for d in game_.ds.values())
        d_learning_rate = game_.d_learning_rate * strategy.d_learning_rate_times
        self.g_optimizer = torch.optim.Adam(game_.g.parameters(), game_.g_learning_rate, betas)
        self.d_optimizer = torch.optim.Adam(d_weights, d_learning_rate, betas)
        self.batch_size = game_.batch_size
        self.losses_not_finite = 0

    def train_d(self, part: DPart, batch: Batch, names: list[str]) -> None:
        """One step of the named Ds."""
        shown, strategy = batch.real.clone(), self.strategy
        # At least one: a small batch has its share of noise too.
        if self.stressor.noise_share:
            noisy = max(1, round(self.stressor.noise_share * len(shown)))
            shown[:noisy] = self.game.noise_like(shown[:noisy])
        fake = self.game.g(batch.inputs).detach()
        shown.requires_grad_(strategy.r1 > 0)
        fake.requires_grad_(strategy.r2 > 0)
        exchanged = self._dice.random() < self.stressor.exchanged_share
        self.d_optimizer.zero_grad()
        terms = []
        for name in names:
            on_real, _ = self.game.judge(name, shown)
            on_fake, _ = self.game.judge(name, fake)
            part.logits(real=on_real, fake=on_fake, d=name)
            labelled = (on_fake, on_real) if exchanged else (on_real, on_fake)
            real_half, fake_half = d_halves(self.form, *labelled, strategy.real_target)
            terms.append(part.loss(real=real_half, fake=fake_half, d=name))
            if strategy.r1:
                terms.append(strategy.r1 / 2 * squared_gradient(on_real, shown))
            if strategy.r2:
                terms.append(strategy.r2 / 2 * squared_gradient(on_fake, fake))
        torch.stack(terms).sum().backward()
        self.d_optimizer.step()

    def train_g(self, part: Any, batch: Batch, *, d_has_begun: bool) -> None:
        """One step of G."""
        game = self.game
        self.g_optimizer.zero_grad()
        fake = game.g(batch.inputs)
        adversarial = torch.zeros(())
        features_apart = torch.zeros(())
        for name in game.ds if d_has_begun else ():
            on_fake, features = game.judge(name, fake)
            on_real = None
            if features or self.form == "relativistic-paired":
                on_real, targets = game.judge(name, batch.real)
                for own, target in zip(features, targets, strict=True):
                    features_apart = features_apart + F.l1_loss(own, target.detach())
            part.logits(fake=on_fake, real=on_real, d=name)
            adversarial = adversarial + g_loss(self.form, on_real, on_fake)
        loss = game.g_loss(adversarial, fake, batch) + game.FEATURE_WEIGHT * features_apart
        self.losses_not_finite += not loss.isfinite()
        loss.backward()
        self.g_optimizer.step()


def normalise_spectrally(network: nn.Module) -> None:
    """Spectral normalisation of every layer with weights but batch normalisation."""
    for module in list(network.modules()):
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            spectral_norm(module)


def squared_gradient(scores: Tensor, samples: Tensor) -> Tensor:
    """R1 or R2 without its factor: the mean over samples of D's squared gradient.

    Source: Mescheder et al. 2018, equation 9.
    """
    # Maps of scores count as their mean, so that gamma means the same for every D.
    total = scores.flatten(1).mean(1).sum()
    (gradient,) = torch.autograd.grad(total, samples, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()


def play(setting: Setting, game: str, stressor: Stressor, strategy: Strategy) -> dict[str, Any]:
    """Carry out one training; the numbers that judge it."""
    torch.set_num_threads(1)
    training = Training(setting, game, stressor, strategy)
    game_ = training.game
    started, seconds = game_.held_out_measures(), 0.0
    for _ in range(stressor.d_head_start):
        training.train_d(Unwatched(), game_.batch(game_.batch_size), list(game_.ds))
    updates = {"g": Updates(training.g_optimizer), "d": Updates(training.d_optimizer)}
    ds = game_.ds[""] if list(game_.ds) == [""] else game_.ds
    balance = cp.Balance(
        game_.g,
        ds,
        training.g_optimizer,
        training.d_optimizer,
        policy=strategy.policy,
        objective=training.form,
        seed=setting.seed,
    )
    along: list[float] = []
    # CPU time: the machine may have other work. What is measured beside the training is left out.
    since = time.process_time()
    for step in range(1, game_.steps + 1):
        if step == game_.steps // 2 + 1:
            training.batch_size = max(1, game_.batch_size // stressor.late_batch_divisor)
            game_.data_changed = stressor.data_change
        batch = game_.batch(training.batch_size)
        d_has_begun = step > game_.d_begins
        if d_has_begun:
            # What the policy asked for last; fixed recipes have a number of their own.
            asked = {name: action.d_steps for name, action in balance.actions.items()}
            wanted = {name: max(n, strategy.d_steps) for name, n in asked.items()}
            for number in range(max(wanted.values())):
                if number:
                    batch = game_.batch(training.batch_size)
                names = [name for name, n in wanted.items() if n > number]
                with balance.d_step() as d_part:
                    training.train_d(d_part, batch, names)
        with balance.g_step() as g_part:
            training.train_g(g_part, batch, d_has_begun=d_has_begun)
        if step * POINTS // game_.steps > (step - 1) * POINTS // game_.steps:
            seconds += time.process_time() - since
            measured = game_.held_out_measures()
            along.append(measured["quality"])
            since = time.process_time()
    balance.close()
    finite = all(weight.isfinite().all() for weight in game_.g.parameters())
    return {
        "start": started,
        "along": along,
        "end": measured,
        "finite": bool(finite and math.isfinite(measured["quality"])),
        "losses_not_finite": training.losses_not_finite,
        "steps": game_.steps,
        "seconds": round(seconds, 2),
        **updates["g"].facts("g"),
        **updates["d"].facts("d"),
    }
