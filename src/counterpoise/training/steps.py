"""One gradient step of G and one of D: where every gradient of the project comes from.

The networks are not wrapped in DistributedDataParallel: an adversarial step runs D several times
per backward pass, may back-propagate one half of its loss alone, differentiates twice for the
penalties and sends gradients through a D that must not collect any. DDP's hooks assume none of
that. Gradients are averaged over the processes explicitly instead, once per update.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from counterpoise.actuators.inputs import NO_CHANGE, InputChange
from counterpoise.actuators.lecam import lecam_penalty
from counterpoise.config import AdversarialLossConfig
from counterpoise.losses.adversarial import AdversarialForm
from counterpoise.losses.generator_loss import GeneratorLoss
from counterpoise.losses.penalties import gradient_penalty, r1_penalty, r2_penalty
from counterpoise.records import Action
from counterpoise.sensors.gradients import ADVERSARIAL, output_gradients


@dataclass(frozen=True)
class Judgement:
    """D's logits and half losses on one batch of real and fake images, graph attached."""

    real_logits: Tensor
    fake_logits: Tensor
    loss_real: Tensor
    loss_fake: Tensor


@dataclass(frozen=True)
class DiscriminatorStep:
    """D's side of the game."""

    fabric: Fabric
    d: nn.Module
    optimizer: torch.optim.Optimizer
    form: AdversarialForm
    config: AdversarialLossConfig
    # D's forward pass where no second derivative is needed; None: `d` itself.
    run_d: Callable[[Tensor], Tensor] | None = None

    def judge(self, real: Tensor, fake: Tensor) -> Judgement:
        """D's forward pass on images (N, 3, H, W), as D shall see them; `fake` carries no gradient
        to G."""
        run_d = self.d if self.run_d is None else self.run_d
        with self.fabric.autocast():
            real_logits, fake_logits = run_d(real), run_d(fake.detach())
        real_logits, fake_logits = real_logits.float(), fake_logits.float()
        loss_real, loss_fake = self.form.d_loss(real_logits, fake_logits)
        return Judgement(real_logits, fake_logits, loss_real, loss_fake)

    def update(
        self,
        judgement: Judgement,
        real: Tensor,
        fake: Tensor,
        action: Action,
        *,
        step: int,
        noise: torch.Generator,
    ) -> Tensor:
        """Update D on the halves of its loss that the action chooses, and on penalties.

        `real` and `fake` are those that were judged. Returns what was added to the halves.
        """
        halves = [
            (judgement.loss_real, action.d_trains_on_real),
            (judgement.loss_fake, action.d_trains_on_fake),
        ]
        loss = sum(half for half, wanted in halves if wanted)
        penalty = self._penalty(real, fake.detach(), action, step, noise)
        if action.label_smoothing and action.d_trains_on_real:
            smoothing = self.form.smoothing_term(judgement.real_logits, action.label_smoothing)
            penalty = penalty + smoothing
        if action.lecam_weight:
            penalty = penalty + action.lecam_weight * lecam_penalty(
                judgement.real_logits,
                judgement.fake_logits,
                action.lecam_real_anchor,
                action.lecam_fake_anchor,
            )
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss + penalty)
        average_gradients(self.fabric, self.d)
        self.optimizer.step()
        return penalty.detach()

    def _penalty(
        self, real: Tensor, fake: Tensor, action: Action, step: int, noise: torch.Generator
    ) -> Tensor:
        config = self.config
        # The configured ones are taken in one of so many steps, and count as often there.
        times = 0 if step % config.penalties_every else config.penalties_every
        r1, r2 = times * config.r1 + action.r1_weight, times * config.r2
        total = torch.zeros((), device=real.device)
        if r1:
            total = total + r1 / 2 * r1_penalty(self.d, real)
        if r2:
            total = total + r2 / 2 * r2_penalty(self.d, fake)
        if weight := times * config.gradient_penalty:
            total = total + weight * gradient_penalty(self.d, real, fake, noise)
        return total


@dataclass(frozen=True)
class GeneratorUpdate:
    """What one pass of G's loss showed. Nothing has a graph."""

    terms: dict[str, Tensor]  # weighted, scalars
    fake_logits: Tensor | None  # D's
    # At G's output, as the images are shaped; None without such a term, or where G was not trained.
    adversarial_gradient: Tensor | None
    content_gradient: Tensor | None


@dataclass(frozen=True)
class GeneratorStep:
    """G's side of the game. `d` and `form` are None where no adversarial term is on."""

    fabric: Fabric
    g: nn.Module
    optimizer: torch.optim.Optimizer
    loss: GeneratorLoss
    form: AdversarialForm | None
    d: nn.Module | None
    # The networks' forward passes; None: the modules themselves.
    run_g: Callable[[Tensor], Tensor] | None = None
    run_d: Callable[[Tensor], Tensor] | None = None

    def generate(self, lr: Tensor) -> Tensor:
        """G's images (N, 3, H, W), graph attached, always float32."""
        with self.fabric.autocast():
            fake: Tensor = (self.g if self.run_g is None else self.run_g)(lr)
        return fake.float()

    def judge(
        self, fake: Tensor, real: Tensor, inputs: InputChange
    ) -> tuple[Tensor | None, Tensor | None]:
        """The logits G's adversarial term needs, from D as it is now: (real or None, fake)."""
        if self.d is None or self.form is None:
            return None, None
        run_d = self.d if self.run_d is None else self.run_d
        with self.fabric.autocast():
            real_logits = run_d(inputs.real(real)).float() if self.form.g_needs_real else None
            return real_logits, run_d(inputs.fake(fake)).float()

    def update(
        self,
        fake: Tensor,
        real: Tensor,
        adversarial_weight_scale: float,
        *,
        train: bool,
        inputs: InputChange = NO_CHANGE,
    ) -> GeneratorUpdate:
        """Update G, or only measure, without `train`. `inputs` is what is done to D's inputs."""
        graph = contextlib.nullcontext() if train else torch.no_grad()
        adversarial, content = None, None
        with graph, without_gradients(self.d):
            real_logits, fake_logits = self.judge(fake, real, inputs)
            with self.fabric.autocast():
                terms = self.loss.terms(fake, real, real_logits, fake_logits)
            if ADVERSARIAL in terms:
                terms[ADVERSARIAL] = terms[ADVERSARIAL] * adversarial_weight_scale
            if train:
                # To G's output term by term, then through G once: no more work than in one go.
                adversarial, content = output_gradients(terms, fake)
                whole = [part for part in (adversarial, content) if part is not None]
                self.optimizer.zero_grad(set_to_none=True)
                self.fabric.backward(fake, sum(whole[1:], start=whole[0]))
                average_gradients(self.fabric, self.g)
                self.optimizer.step()
        return GeneratorUpdate(
            terms={name: term.detach() for name, term in terms.items()},
            # A copy: a replayed pass of D writes over its logits.
            fake_logits=None if fake_logits is None else fake_logits.detach().clone(),
            adversarial_gradient=adversarial,
            content_gradient=content,
        )


@contextlib.contextmanager
def without_gradients(module: nn.Module | None) -> Iterator[None]:
    """Let gradients through `module` without collecting any in its parameters."""
    if module is None:
        yield
        return
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)


def average_gradients(fabric: Fabric, module: nn.Module) -> None:
    """Average the parameters' gradients over all processes, in one message."""
    if fabric.world_size == 1:
        return
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    whole = torch.cat([gradient.flatten() for gradient in gradients])
    flat = fabric.all_reduce(whole, reduce_op="mean")
    assert isinstance(flat, Tensor)
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
        offset += gradient.numel()


def update_average(average: nn.Module, module: nn.Module, decay: float, step: int) -> None:
    """Move the exponential moving average of G's weights one step; buffers are copied.

    Early on the average is short, min(decay, (1 + step) / (10 + step)), so that a short training
    is not judged by its initial weights.
    """
    decay = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(module.parameters()), 1 - decay)
        for mean_buffer, buffer in zip(average.buffers(), module.buffers(), strict=True):
            mean_buffer.copy_(buffer)
