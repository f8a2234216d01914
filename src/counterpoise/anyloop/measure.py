"""Reads the sensors in a hand-written loop, at a cadence, without changing what it computes."""

import inspect
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from counterpoise.anyloop.hooks import BACKWARD
from counterpoise.anyloop.objective import LoopObjective
from counterpoise.anyloop.processes import mean_of_each
from counterpoise.anyloop.turn import Turn
from counterpoise.records import NO_READINGS, Readings
from counterpoise.sensors.gradients import GradientTracker, flat, update_ratio
from counterpoise.sensors.images import PATCH_PX, image_readings
from counterpoise.sensors.probes import held_out_readings, leak_readings, probe_discriminator
from counterpoise.sensors.sums import norm

# Readings for which D is asked about other images are taken this much more rarely.
PROBES_EVERY = 10


class Measurements:
    """The sensors of one loop. A reading is taken every `every` turns; the gradients of the turn
    before it are remembered, for their cosine."""

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        every: int,
        held_out: Tensor | None,
        paired: bool,
        grad_scaler: torch.amp.GradScaler | None,
    ) -> None:
        self._networks = {"g": generator, "d": discriminator}
        self._trackers = {key: GradientTracker(net) for key, net in self._networks.items()}
        self._every, self._held_out, self.paired = every, held_out, paired
        self._grad_scaler = grad_scaler
        # Whether the turn under way takes readings, and whether the one after it does.
        self.due = False
        self._due_next = every == 1
        self._probes_due = False
        self.in_g_part = False
        self._updated: set[str] = set()
        self._taken: dict[str, Tensor] = {}
        self._readings = NO_READINGS
        # Gradients at G's output, summed over the passes of the turn: D's share, and all of it.
        self._adversarial: Tensor | None = None
        self._adversarial_scale = 1.0
        self._total: Tensor | None = None
        # Whether both are of one shape: not where D's input is more than G's output (a condition
        # beside it), nor where batches of several sizes were judged.
        self._comparable = True

    def begin(self, step: int) -> None:
        """A turn begins."""
        self.due = step % self._every == 0
        self._due_next = (step + 1) % self._every == 0
        self._probes_due = step % (self._every * PROBES_EVERY) == 0
        self._taken, self._readings = {}, NO_READINGS
        self._adversarial = self._total = None
        self._comparable = True
        self._updated.clear()

    def end(self, device: torch.device) -> Readings:
        """The turn's readings, the same in all processes; `device` is D's."""
        if self._adversarial is not None and self._total is not None and self._comparable:
            scale = 1.0 if self._grad_scaler is None else self._grad_scaler.get_scale()
            content = self._total - self._adversarial
            self._take("g_gradient_adversarial", norm(self._adversarial) / scale)
            self._take("g_gradient_content", norm(content) / scale)
            self._take("g_adversarial_scale", torch.tensor(self._adversarial_scale))
        self._adversarial = self._total = None
        if not self._taken:
            return self._readings
        return self._readings.updated(Readings(**mean_of_each(self._taken, device)))

    def watch_output(self, images: Tensor) -> None:
        """G has made images (N, ...) with a graph: note what gradient comes back to them."""
        # A loop may make its images before it says that the next turn begins.
        if not (self.due or self._due_next):
            return

        def note(gradient: Tensor) -> None:
            # With a gradient that a loop asks `autograd.grad` for, it trains nothing.
            if self.in_g_part and self.due and BACKWARD.running:
                self._total = self._sum(self._total, gradient)

        images.register_hook(note)  # type: ignore[no-untyped-call]

    def adversarial_gradient(self, gradient: Tensor, adversarial_weight_scale: float) -> None:
        """A gradient that came back to D's input in G's part, scaled by the policy as given."""
        if self.due and BACKWARD.running:
            self._adversarial_scale = adversarial_weight_scale
            self._adversarial = self._sum(self._adversarial, gradient)

    def _sum(self, sum_so_far: Tensor | None, gradient: Tensor) -> Tensor:
        gradient = gradient.detach().float()
        others = [each for each in (self._adversarial, self._total) if each is not None]
        if any(each.shape != gradient.shape for each in others):
            self._comparable = False
            return gradient
        return gradient if sum_so_far is None else sum_so_far + gradient

    def reads_update(self, network: str) -> bool:
        """Whether `update` has anything to read."""
        return (self.due or self._due_next) and network not in self._updated

    @contextmanager
    def update(self, network: str) -> Iterator[None]:
        """Around an optimizer's step that is carried out: its gradients, and how far it goes."""
        if not self.reads_update(network):
            yield
            return
        self._updated.add(network)
        tracker, parameters = self._trackers[network], list(self._networks[network].parameters())
        if self.due:
            length, cosine = tracker.read()
            self._take(f"{network}_gradient_norm", length)
            self._take(f"{network}_gradient_cosine", cosine)
            before = flat(parameters)
        if self._due_next:
            tracker.keep()
        yield
        if self.due:
            self._take(f"{network}_update_ratio", update_ratio(before, flat(parameters)))

    def add(self, readings: Readings) -> None:
        """Readings that are there anyway, the same in all processes already."""
        if self.due:
            self._readings = self._readings.updated(readings)

    def after_d(
        self, turn: Turn, objective: LoopObjective, d_optimizer: torch.optim.Optimizer
    ) -> None:
        """D's part is over: what the images show, and what D says to others."""
        real, fake = turn.real, turn.fake
        probing = turn.decided.probe_discriminator
        if real is None or fake is None or not (self.due or probing):
            return
        if real.images is None or fake.images is None:
            return
        if not (real.images.is_floating_point() and fake.images.is_floating_point()):
            return  # labels or tokens: no other values are close to them
        # D is asked without autocast, of whose type G's images may be.
        real_images, fake_images = (
            images.to(_float_type(self._networks["d"])) for images in (real.images, fake.images)
        )
        if self.due:
            self._read_images(real_images, fake_images)
        if not (real.images_alone and fake.images_alone):
            return  # D needs more than images, so it cannot be asked about others
        d = answering_in_logits(self._networks["d"], objective)
        if self._probes_due:
            self._read_leaks(d, real_images, fake_images, turn)
        if self.due and self._held_out is not None:
            limit = objective.threshold(
                *(objective.logits(c.outputs) for c in (real, fake) if c.outputs is not None)
            )
            # As D sees training images: without the policy's noise they would be others to it.
            held_out = turn.change.real(self._held_out.to(real_images))
            self._take_all(held_out_readings(d, held_out, limit))
        if probing:
            accuracy = probe_discriminator(
                d,
                lambda parameters: _fresh(d_optimizer, parameters),
                objective.d_loss,
                objective.threshold,
                turn.change.real(real_images),
                turn.change.fake(fake_images),
            )
            self._take("d_probe_accuracy", accuracy)

    def _read_images(self, real: Tensor, fake: Tensor) -> None:
        if real.shape[1:] != fake.shape[1:]:
            return
        pairs = self.paired and real.shape == fake.shape and real.ndim == 4
        paired = pairs and min(real.shape[2:]) >= PATCH_PX
        readings = image_readings(fake, real, paired=paired)
        if real.ndim != 4:
            # Only images are stored in a range: a point outside a batch's is no giveaway.
            readings = replace(readings, fake_out_of_range=None)
        self._take_all(readings)

    def _read_leaks(self, d: nn.Module, real: Tensor, fake: Tensor, turn: Turn) -> None:
        value_range = _value_range(real)
        if value_range is None or real.ndim != 4 or real.shape[1:] != fake.shape[1:]:
            return
        change = turn.change
        self._take_all(
            leak_readings(
                d,
                real,
                fake,
                value_range=value_range,
                change_real=change.real,
                change_fake=change.fake,
            )
        )

    def _take_all(self, readings: Readings) -> None:
        for name, value in readings.taken().items():
            self._take(name, value)

    def _take(self, name: str, value: Tensor | float | None) -> None:
        if value is not None:
            self._taken[name] = torch.as_tensor(value)


class _Logits(nn.Module):
    """A D that ends in a sigmoid, answering in logits."""

    def __init__(self, d: nn.Module, objective: LoopObjective) -> None:
        super().__init__()
        self.d, self._objective = d, objective

    def forward(self, images: Tensor) -> Tensor:
        return self._objective.logits(self.d(images))


def answering_in_logits(d: nn.Module, objective: LoopObjective) -> nn.Module:
    """D without what several processes need around it, and uncompiled, its answers (N, ...) as
    logits."""
    if isinstance(d, nn.parallel.DistributedDataParallel | nn.DataParallel):
        d = d.module
    for name in ("lightning_fabric", "lightning.fabric"):  # one is a copy of the other
        fabric = sys.modules.get(name)
        if fabric is not None and fabric.is_wrapped(d):
            d = d.module  # type: ignore[assignment]
    d = getattr(d, "_orig_mod", d)
    wrapped = _Logits(d, objective)
    wrapped.training = d.training
    return wrapped


def _float_type(network: nn.Module) -> torch.dtype:
    """The type that a network computes in."""
    types = (p.dtype for p in network.parameters() if p.is_floating_point())
    return next(types, torch.float32)


def _value_range(real: Tensor) -> tuple[float, float] | None:
    """The range that real images are stored in, where it is one of the usual ones."""
    low, high = float(real.min()), float(real.max())
    usual = [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)]
    return next(((a, b) for a, b in usual if a <= low and high <= b), None)


def _fresh(optimizer: torch.optim.Optimizer, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
    """A new optimizer of the same kind, with the options and learning rate of the user's."""
    known = inspect.signature(type(optimizer).__init__).parameters
    options = {key: value for key, value in optimizer.defaults.items() if key in known}
    options["lr"] = float(optimizer.param_groups[0]["lr"])
    return type(optimizer)(parameters, **options)
