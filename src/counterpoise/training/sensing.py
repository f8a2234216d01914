"""Reads the sensors during a training, each when it is due."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from counterpoise.actuators.inputs import InputChange
from counterpoise.records import NO_READINGS, Readings
from counterpoise.sensors.gradients import GradientTracker, flat, update_ratio
from counterpoise.sensors.images import image_readings
from counterpoise.sensors.probes import held_out_readings, leak_readings, probe_discriminator
from counterpoise.sensors.sums import norm
from counterpoise.training.setup import Parts, adam
from counterpoise.training.steps import DiscriminatorStep, GeneratorUpdate, Judgement


class TrainingSensors:
    """The sensors of one training, this process's share. A step begins with `begin`."""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._cadence = parts, parts.config.sensors
        self._networks: dict[str, nn.Module] = {"g": parts.g}
        if parts.d is not None:
            self._networks["d"] = parts.d
        self._trackers = {key: GradientTracker(net) for key, net in self._networks.items()}
        self._step = 0
        self._updated: set[str] = set()
        self._scalars: dict[str, Tensor] = {}

    def due(self, step: int) -> bool:
        """Whether gradients, held-out images and outputs are read in this step."""
        return self._cadence.every > 0 and step % self._cadence.every == 0

    def begin(self, step: int) -> None:
        """A step begins."""
        self._step = step
        self._updated.clear()
        self._scalars.clear()

    def read_before_decision(self) -> bool:
        """Whether `before_decision` has anything to read in this step."""
        return self.due(self._step) or self._probes_due()

    def before_decision(
        self, judgement: Judgement, real: Tensor, fake: Tensor, inputs: InputChange
    ) -> Readings:
        """What can be read before the policy decides: D on held-out images, G's outputs."""
        readings, parts = NO_READINGS, self._parts
        assert parts.d is not None
        with parts.fabric.autocast():
            if self.due(self._step):
                threshold = parts.form.decision_threshold(
                    judgement.real_logits, judgement.fake_logits
                )
                held_out = inputs.real(parts.held_out_crops)
                readings = held_out_readings(parts.d, held_out, threshold).updated(
                    image_readings(fake, real, paired=True, value_range=(0.0, 1.0))
                )
            if self._probes_due():
                leaks = leak_readings(
                    parts.d, real, fake, change_real=inputs.real, change_fake=inputs.fake
                )
                readings = readings.updated(leaks)
        return readings

    def _probes_due(self) -> bool:
        return self._cadence.probes_every > 0 and self._step % self._cadence.probes_every == 0

    def probe(self, d_step: DiscriminatorStep, real: Tensor, fake: Tensor) -> Readings:
        """How well a copy of D comes to tell this batch apart; images as D shall see them."""
        parts = self._parts
        with parts.fabric.autocast():
            accuracy = probe_discriminator(
                d_step.d,
                lambda weights: adam(weights, parts.config.optimizer.d),
                parts.form.d_loss,
                parts.form.decision_threshold,
                real,
                fake,
            )
        return Readings(d_probe_accuracy=accuracy)

    @contextmanager
    def watch(self, network: str) -> Iterator[None]:
        """Read what the update inside of this block does to network `g` or `d`."""
        module, tracker, due = (
            self._networks[network],
            self._trackers[network],
            self.due(self._step),
        )
        before = flat(module.parameters()) if due else None
        yield
        self._updated.add(network)
        if before is not None:
            length, cosine = tracker.read()
            self._scalars[f"{network}_gradient_norm"] = length
            if cosine is not None:
                self._scalars[f"{network}_gradient_cosine"] = cosine
            ratio = update_ratio(before, flat(module.parameters()))
            self._scalars[f"{network}_update_ratio"] = ratio
        if self.due(self._step + 1):
            tracker.keep()

    def read_output(self, update: GeneratorUpdate, adversarial_weight_scale: float) -> None:
        """Read the gradients at G's output, the adversarial one scaled as `update` has it."""
        if not self.due(self._step):
            return
        # A process's loss is the mean over its share of the batch: of n shares with gradients of
        # one size each, the whole batch's gradient is that size over the root of n.
        scale = self._parts.fabric.world_size**-0.5
        device = self._parts.fabric.device
        adversarial, content = update.adversarial_gradient, update.content_gradient
        if content is not None:
            self._scalars["g_gradient_content"] = norm(content.float()) * scale
        if adversarial is not None:
            self._scalars["g_gradient_adversarial"] = norm(adversarial.float()) * scale
            self._scalars["g_adversarial_scale"] = torch.tensor(
                adversarial_weight_scale, device=device
            )
            # Where G learns from D alone the content's is known too; 0 is not "not read".
            self._scalars.setdefault("g_gradient_content", torch.zeros((), device=device))

    def after_updates(self) -> Readings:
        """What was read of the updates; call it at the end of each step."""
        for network, tracker in self._trackers.items():
            # Of another step than the one before the next: a cosine would mean something else.
            if network not in self._updated:
                tracker.kept = None
        if not self._scalars:
            return NO_READINGS
        values = torch.stack(list(self._scalars.values())).tolist()
        return dataclasses.replace(NO_READINGS, **dict(zip(self._scalars, values, strict=True)))

    def tensors(self) -> dict[str, Tensor]:
        """What a resumed training needs."""
        return {k: t.kept for k, t in self._trackers.items() if t.kept is not None}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Undo `tensors`."""
        for network, tracker in self._trackers.items():
            kept = tensors.get(network)
            tracker.kept = None if kept is None else kept.to(self._parts.fabric.device)


def readings_to_vector(readings: Readings) -> list[float]:
    """All readings, 0 for those that were not taken, then 1 or 0 for whether they were."""
    values = [getattr(readings, f.name) for f in dataclasses.fields(readings)]
    return [value or 0.0 for value in values] + [float(value is not None) for value in values]


def readings_from_vector(means: list[float]) -> Readings:
    """Undo `readings_to_vector` on its mean over processes: the mean of those that took it."""
    names = [f.name for f in dataclasses.fields(Readings)]
    values, taken = means[: len(names)], means[len(names) :]
    return Readings(
        **{n: v / share for n, v, share in zip(names, values, taken, strict=True) if share}
    )
