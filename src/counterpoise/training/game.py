"""One step of the game: D judges, the policy decides, D learns, G learns."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from counterpoise.actuators.inputs import InputChange
from counterpoise.actuators.r1 import MIXES_IMAGES, UNMET, mixes_images, without_r1
from counterpoise.actuators.snapshot import Snapshot
from counterpoise.balance.policy import reads_signals
from counterpoise.data.device_crops import device_batches
from counterpoise.data.sampler import batches
from counterpoise.records import (
    NO_ACTION,
    NO_READINGS,
    Action,
    Readings,
    Signals,
    unknown_signals,
)
from counterpoise.run_folder import ROLL_BACK
from counterpoise.seeding import generator_for_step
from counterpoise.sensors.discriminator import (
    are_few,
    discriminator_statistics,
    on_host,
    on_host_if_few,
    saturation_readings,
    signals_from_statistics,
)
from counterpoise.training.acceleration import chosen
from counterpoise.training.plan import Stage
from counterpoise.training.sensing import (
    TrainingSensors,
    readings_from_vector,
    readings_to_vector,
)
from counterpoise.training.setup import Parts
from counterpoise.training.steps import update_average


@dataclass
class Played:
    """What happened in one step. Tensors are this process's share, on its device."""

    g_learning_rate: float
    g_updated: bool = True
    # G's weighted loss terms, scalars.
    terms: dict[str, Tensor] = field(default_factory=dict)
    # None in a stage without a discriminator, and until they are fetched.
    signals: Signals | None = None
    # What they are to be made of: D's logits on real and on fake images, or their statistics.
    judged: tuple[Tensor, ...] = ()
    d_fake_after: Tensor | None = None
    d_penalty: Tensor | None = None
    d_learning_rate: float | None = None
    d_updated: bool = False
    action: Action = NO_ACTION
    rolled_back: bool = False
    readings: Readings = NO_READINGS
    # What a person must be told, as (kind, message).
    events: list[tuple[str, str]] = field(default_factory=list)


class Game:
    """Plays step after step: the networks' optimizers, the batches, the policy, and its state."""

    def __init__(self, parts: Parts, stage: Stage) -> None:
        self.parts, self.config, self.fabric = parts, parts.config, parts.fabric
        self.sensors = TrainingSensors(parts)
        self.batches_drawn = 0
        self._batches: Iterator[tuple[Tensor, Tensor]] | None = None
        # The latest readings, and what the policy last asked for.
        self.readings = NO_READINGS
        self.last_action = NO_ACTION
        # Whether a step ends before its numbers are known: nothing on the host waits for them.
        self.defers = self.fabric.device.type == "cuda" and not reads_signals(parts.policy)
        # Failures that a person was told of.
        self.told: set[str] = set()
        self.d_takes_r1 = parts.d is not None and not mixes_images(parts.d)
        self.channels_last = chosen(self.config.train.channels_last, self.fabric.device)
        self.enter(stage)

    def enter(self, stage: Stage) -> None:
        """Begin a stage: its losses, and a fresh Adam for G."""
        self.stage = stage
        self.g_optimizer = self.parts.g_adam(stage)
        self.g_step = self.parts.generator_step(stage, self.g_optimizer)
        self.d_step = self.parts.discriminator_step(stage)
        self.snapshot = Snapshot(self.modules(), self.optimizers())

    def play(self, step: int) -> Played:
        """Train for one step. Fakes are made once; D sees them alike in its turn and in G's."""
        self.sensors.begin(step)
        played = Played(g_learning_rate=self.stage.g_adam.learning_rate)
        lr, hr = self.next_batch()
        inputs = self.input_change()
        fake = self.g_step.generate(lr)

        # Discriminator.
        if self.d_step is not None:
            self.play_discriminator(step, hr, fake, inputs, played)
            if played.rolled_back:
                with torch.no_grad():
                    fake = self.g_step.generate(lr)
        action = played.action

        # Generator.
        played.g_learning_rate *= action.g_learning_rate_scale
        set_learning_rate(self.g_optimizer, played.g_learning_rate)
        scale = action.adversarial_weight_scale
        played.g_updated = action.g_steps > 0 and not played.rolled_back
        if played.g_updated:
            with self.sensors.watch("g"):
                update = self.g_step.update(fake, hr, scale, train=True, inputs=inputs)
            self.sensors.read_output(update, scale)
            for _ in range(action.g_steps - 1):
                self.further_g_step(scale)
        else:
            update = self.g_step.update(fake, hr, scale, train=False, inputs=inputs)
        played.terms = update.terms
        if not played.rolled_back:
            update_average(self.parts.g_average, self.parts.g, self.config.train.ema_decay, step)

        # D(G(z)) after D's update comes from G's pass through the new D.
        if update.fake_logits is not None:
            played.d_fake_after = self.parts.form.probability(update.fake_logits).mean()
        self.take_readings(played, self.sensors.after_updates())
        self.tell_fallbacks(step, played)
        return played

    def tell_fallbacks(self, step: int, played: Played) -> None:
        """Note which passes turned out not to be replayable."""
        for passes in self.parts.passes.replayed:
            if passes.failure:
                self.tell_once(step, played, passes.failure)

    def tell_once(self, step: int, played: Played, problem: str) -> None:
        """Note what does not go as configured, the first time."""
        if problem not in self.told:
            self.told.add(problem)
            played.events.append(("fallback", f"step {step}: {problem}"))

    def play_discriminator(
        self, step: int, hr: Tensor, fake: Tensor, inputs: InputChange, played: Played
    ) -> None:
        """D's turn: it judges, the policy decides, it learns. Fills in its part of `played`."""
        assert self.d_step is not None
        real_seen, fake_seen = inputs.real(hr), inputs.fake(fake.detach())
        judgement = self.d_step.judge(real_seen, fake_seen)
        if self.sensors.read_before_decision():
            readings = self.sensors.before_decision(judgement, hr, fake, inputs)
            self.take_readings(played, readings)
        logits = judgement.real_logits.detach(), judgement.fake_logits.detach()
        if self.defers:
            # Copies: a graph replayed in the next step writes over D's own.
            few = are_few(*logits)
            played.judged = tuple(x.clone() for x in logits) if few else (self.statistics(*logits),)
            seen = unknown_signals(step)
        else:
            statistics = self.statistics(*on_host_if_few(*logits))
            seen = self.note_signals(step, played, self.mean_over_processes(statistics))
        action = self.parts.policy.observe(seen)
        if action.r1_weight and not self.d_takes_r1:
            self.tell_once(step, played, UNMET.format(why=MIXES_IMAGES))
            action = without_r1(action)
        played.action = self.last_action = action
        if action.probe_discriminator:
            self.take_readings(played, self.sensors.probe(self.d_step, real_seen, fake_seen))
        if action.keep_snapshot:
            self.snapshot.take(step)
        if action.roll_back:
            self.roll_back(step, played)

        played.d_learning_rate = (
            self.config.optimizer.d.learning_rate * action.d_learning_rate_scale
        )
        set_learning_rate(self.d_step.optimizer, played.d_learning_rate)
        noise = generator_for_step(
            self.config.train.seed, step, self.fabric.global_rank, self.fabric.device
        )
        played.d_penalty = torch.zeros((), device=self.fabric.device)
        played.d_updated = action.d_steps > 0 and not played.rolled_back
        if not played.d_updated:
            return
        with self.sensors.watch("d"):
            played.d_penalty = self.d_step.update(
                judgement, real_seen, fake_seen, action, step=step, noise=noise
            )
        for _ in range(action.d_steps - 1):
            self.further_d_step(action, step, noise)

    def statistics(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """`discriminator_statistics` of this process's share, where the logits are."""
        form = self.parts.form
        return discriminator_statistics(
            *form.d_loss(real_logits, fake_logits),
            real_logits,
            fake_logits,
            form.probability,
            form.decision_threshold(real_logits, fake_logits),
        )

    def note_signals(self, step: int, played: Played, statistics: list[float]) -> Signals:
        """Note the signals of a step in `played`, from statistics of all processes."""
        form = self.parts.form
        if form.has_probability:
            saturation = saturation_readings(statistics)
            self.readings = self.readings.updated(saturation)
            played.readings = played.readings.updated(saturation)
        played.judged = ()
        played.signals = signals_from_statistics(
            step,
            statistics,
            form.equilibrium_d_loss,
            self.readings,
            d_takes_r1=self.d_takes_r1,
        )
        return played.signals

    def settle(self, waiting: Sequence[tuple[int, Played]]) -> None:
        """Note the signals of played steps that have none yet: one transfer for all."""
        of_steps = [(step, played) for step, played in waiting if played.judged]
        if not of_steps:
            return
        judged = iter(on_host(*[x for _, played in of_steps for x in played.judged]))
        rows = []
        for _, played in of_steps:
            shown = [next(judged) for _ in played.judged]
            rows.append(self.statistics(*shown) if len(shown) == 2 else shown[0])
        means = self.mean_over_processes(torch.cat(rows))
        size = len(rows[0])
        for number, (step, played) in enumerate(of_steps):
            self.note_signals(step, played, means[number * size : (number + 1) * size])

    def roll_back(self, step: int, played: Played) -> None:
        """Put the kept state back, if there is one; a person is told either way."""
        reason = played.action.reason or "asked for by the policy"
        if self.snapshot.taken_step is None:
            message = f"step {step}: cannot go back, no state was kept ({reason}); training on"
            played.events.append((ROLL_BACK, message))
            return
        self.snapshot.restore()
        played.rolled_back = True
        message = f"step {step}: back to the state before step {self.snapshot.taken_step}: {reason}"
        played.events.append((ROLL_BACK, message))

    def take_readings(self, played: Played, local: Readings) -> None:
        """Average what was read over the processes, which all come here alike, and note it."""
        if local == NO_READINGS:
            return
        if self.fabric.world_size > 1:
            vector = torch.tensor(readings_to_vector(local), device=self.fabric.device)
            local = readings_from_vector(self.mean_over_processes(vector))
        self.readings = self.readings.updated(local)
        played.readings = played.readings.updated(local)

    def further_d_step(self, action: Action, step: int, noise: torch.Generator) -> None:
        """One more update of D, on a fresh batch."""
        assert self.d_step is not None
        lr, hr = self.next_batch()
        inputs = self.input_change()
        with torch.no_grad():
            fake = self.g_step.generate(lr)
        real_seen, fake_seen = inputs.real(hr), inputs.fake(fake)
        judgement = self.d_step.judge(real_seen, fake_seen)
        self.d_step.update(judgement, real_seen, fake_seen, action, step=step, noise=noise)

    def further_g_step(self, adversarial_weight_scale: float) -> None:
        """One more update of G, on a fresh batch."""
        lr, hr = self.next_batch()
        fake = self.g_step.generate(lr)
        self.g_step.update(
            fake, hr, adversarial_weight_scale, train=True, inputs=self.input_change()
        )

    def input_change(self) -> InputChange:
        """What is done to D's inputs on the batch drawn last: as the policy asked a step ago."""
        return InputChange(
            noise_std=self.last_action.noise_std,
            augment_probability=self.last_action.augment_probability,
            paired=True,
            seed=self.config.train.seed,
            batch=self.batches_drawn,
            rank=self.fabric.global_rank,
        )

    def mean_over_processes(self, values: Tensor) -> list[float]:
        """The mean of a vector over all processes, on the host: where a step waits."""
        if self.fabric.world_size == 1:
            return [float(value) for value in values.tolist()]
        reduced = self.fabric.all_reduce(values.to(self.fabric.device), reduce_op="mean")
        assert isinstance(reduced, Tensor)
        return [float(value) for value in reduced.tolist()]

    def next_batch(self) -> tuple[Tensor, Tensor]:
        """The next LR and HR crops of this process, float32 in [0, 1], on its device."""
        if self._batches is None:
            share = (
                self.config.train.batch_size,
                self.fabric.global_rank,
                self.fabric.world_size,
                self.batches_drawn,
            )
            if self.parts.device_crops is not None:
                self._batches = device_batches(self.parts.device_crops, *share)
            else:
                self._batches = batches(
                    self.parts.dataset,
                    *share,
                    self.config.data.worker_processes,
                    # A thread that pins memory would break into the recording of a CUDA graph.
                    pin_memory=self.fabric.device.type == "cuda" and not self.parts.passes.replayed,
                )
        self.batches_drawn += 1
        lr, hr = next(self._batches)
        device = self.fabric.device
        lr, hr = (x.to(device, non_blocking=True).float().div_(255) for x in (lr, hr))
        # Crops from the device come channels last.
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return lr.contiguous(memory_format=layout), hr.contiguous(memory_format=layout)

    def modules(self) -> dict[str, torch.nn.Module]:
        """All networks whose state a step changes."""
        parts = self.parts
        modules: dict[str, torch.nn.Module] = {"g": parts.g, "g_average": parts.g_average}
        return modules if parts.d is None else modules | {"d": parts.d}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimizers of the stage."""
        optimizers: dict[str, torch.optim.Optimizer] = {"g_optimizer": self.g_optimizer}
        if self.parts.d_optimizer is not None:
            optimizers["d_optimizer"] = self.parts.d_optimizer
        return optimizers

    def values(self) -> dict[str, Any]:
        """What a resumed training needs beside tensors, as plain JSON values."""
        return {
            "batches_drawn": self.batches_drawn,
            "policy": self.parts.policy.state_dict(),
            "last_action": dataclasses.asdict(self.last_action),
            "readings": self.readings.taken(),
            "kept_step": self.snapshot.taken_step,
        }

    def load_values(self, values: dict[str, Any]) -> None:
        """Undo `values`; the kept state's tensors are the checkpoint's business."""
        self.batches_drawn = int(values["batches_drawn"])
        self.parts.policy.load_state_dict(values["policy"])
        self.last_action = Action(**values["last_action"])
        self.readings = Readings(**values["readings"])
        self.snapshot.taken_step = values["kept_step"]


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Give all of an optimizer's parameters one learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
