"""Reads the sensors of a game, each when it is due, without changing what is trained."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor, nn

from counterpoise.game.objective import Ask, answering_in_logits
from counterpoise.game.players import DiscriminatorTurn
from counterpoise.game.processes import world_size
from counterpoise.sensors.gradients import flat, flat_gradient, gradient_readings, update_ratio
from counterpoise.sensors.images import image_readings
from counterpoise.sensors.probes import held_out_readings, leak_readings
from counterpoise.sensors.sums import norm

# What is read, scalars by the names of `records.Readings`, where the networks are.
Measured = dict[str, Tensor]

# What is read at G's output.
OF_OUTPUT = ("g_gradient_content", "g_gradient_adversarial", "g_adversarial_scale")

# G, among the networks that are read.
G = "g"


def key_of(d: str) -> str:
    """The name of a D among the networks that are read."""
    return f"d.{d}" if d else "d"


@dataclass(eq=False)
class Sensors:
    """The sensors of one game. Those that cost something are read in every `every`-th turn (0:
    never), D on fakes of 8 bits and on hidden borders in every `probes_every`-th."""

    generator: nn.Module
    discriminators: Mapping[str, nn.Module]
    _: KW_ONLY
    every: int
    probes_every: int
    held_out: Tensor | None = None  # real images that D is not trained on
    paired: bool = False  # whether a fake is made from the real image beside it
    values: tuple[float, float] | None = None  # that images are stored between; None looks
    autocast: Callable[[], AbstractContextManager[None]] = nullcontext  # in which D is asked
    grad_scaler: torch.amp.GradScaler | None = None  # AMP's, whose scale is in the gradients

    def __post_init__(self) -> None:
        ds = {key_of(name): d for name, d in self.discriminators.items()}
        self._networks = {G: self.generator, **ds}
        # Flat gradients of the turn before, of the networks that were updated in it.
        self._kept: dict[str, Tensor] = {}
        # Whether the turn under way takes readings (any of images), and the one after it does.
        self.due = False
        self.due_next = self._is_due(1)
        self._probes_due = self.reads_images = False
        self._updated: set[str] = set()
        self._read: dict[str, Measured] = {}

    def _is_due(self, step: int) -> bool:
        return self.every > 0 and step % self.every == 0

    def begin(self, step: int) -> None:
        self.due, self.due_next = self._is_due(step), self._is_due(step + 1)
        self._probes_due = self.probes_every > 0 and step % self.probes_every == 0
        self.reads_images = self.due or self._probes_due
        self._updated, self._read = set(), {key: {} for key in self._networks}

    def end(self, *, g_updated: bool) -> dict[tuple[str, str], Tensor]:
        """What was read in the turn, by network and name. Gradients at G's output are of a turn
        that trained G: a loop may have back-propagated what was left out."""
        self._kept = {key: kept for key, kept in self._kept.items() if key in self._updated}
        read = [(key, name) for key, named in self._read.items() for name in named]
        return {k: self._read[k[0]][k[1]] for k in read if g_updated or k[1] not in OF_OUTPUT}

    def gradient_scale(self) -> float | Tensor:
        """What losses and gradients are multiplied with."""
        if self.grad_scaler is None:
            return 1.0
        # As a tensor: `get_scale` would wait for the device.
        scale = self.grad_scaler._get_scale_async()
        return self.grad_scaler.get_scale() if scale is None else scale

    def read_images(
        self, part: DiscriminatorTurn, real: Tensor, fake: Tensor, ask: Ask | None
    ) -> None:
        """D has judged these images (N, ...): read what they are like, and what it says of others.

        `ask`: how D is asked about others; None where it needs something beside them.
        """
        if not (real.is_floating_point() and fake.is_floating_point()):
            return  # labels or tokens have no other values close to them
        player, change = part.player, part.change
        objective, read = player.known_objective(), self._read[key_of(player.name)]
        # D is asked without a loop's autocast, of whose type G's images may be.
        real, fake = _as_input(player.network, real), _as_input(player.network, fake)
        alike = real.shape[1:] == fake.shape[1:]
        if self.due and alike:
            read |= image_readings(fake, real, paired=self.paired, value_range=self.values)
        if ask is None:
            return
        d = answering_in_logits(player.network, objective, ask)
        with self.autocast():
            if self.due and self.held_out is not None and part.judged is not None:
                # As D sees training images: without the policy's noise they would be others to it.
                held_out = change.real(self.held_out.to(real))
                read |= held_out_readings(d, held_out, objective.threshold(*part.judged))
            if self._probes_due and alike and real.ndim == 4:
                stored = self.values or _stored_range(real)
                if stored is not None:
                    read |= leak_readings(d, real, fake, stored, change.real, change.fake)

    def read_output(
        self, name: str | None, adversarial: Tensor | None, content: Tensor | None, scale: float
    ) -> None:
        """Note the gradients of G's loss at G's output: that through a D (None: there is none),
        with the policy's `scale` in it, and that of all the rest."""
        if not self.due:
            return
        # A process's loss is the mean over its share of the batch: of n shares with gradients of
        # one size each, the whole batch's gradient is that size over the root of n.
        factor = world_size() ** -0.5 / self.gradient_scale()
        read = self._read[G if name is None else key_of(name)]
        if content is not None:
            read["g_gradient_content"] = norm(content.float()) * factor
        if adversarial is not None:
            read["g_gradient_adversarial"] = norm(adversarial.float()) * factor
            read["g_adversarial_scale"] = torch.tensor(scale)
            # Where G learns from D alone the content's is known too; 0 is not "not read".
            read.setdefault("g_gradient_content", torch.zeros(()))

    @contextmanager
    def update(self, optimizer: torch.optim.Optimizer, *keys: str) -> Iterator[None]:
        """Around an optimizer's step: the gradients of these networks, and how far they go."""
        before = {}
        # Fused ones take AMP's scale out themselves, and leave out a step that is not finite.
        scale = getattr(optimizer, "grad_scale", None)
        is_left_out = getattr(optimizer, "found_inf", None)
        if is_left_out is not None and self.due and bool(is_left_out):
            keys = ()
        due = self.due or self.due_next
        new = [key for key in keys if due and key not in self._updated]
        self._updated.update(new)
        for key in new:
            network, kept, read = self._networks[key], self._kept.pop(key, None), self._read[key]
            if self.due:
                length, cosine = gradient_readings(flat_gradient(network), kept)
                read[f"{key[0]}_gradient_norm"] = length if scale is None else length / scale
                if cosine is not None:
                    read[f"{key[0]}_gradient_cosine"] = cosine
                before[key] = flat(network.parameters())
            if self.due_next:
                self._kept[key] = flat_gradient(network)
        yield
        for key, weights in before.items():
            ratio = update_ratio(weights, flat(self._networks[key].parameters()))
            self._read[key][f"{key[0]}_update_ratio"] = ratio

    def tensors(self) -> dict[str, Tensor]:
        """What a resumed game needs: the gradients of the turn before, by network."""
        return dict(self._kept)

    def load(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Undo `tensors`."""
        self._kept = {key: kept.to(device) for key, kept in tensors.items()}


def _stored_range(real: Tensor) -> tuple[float, float] | None:
    """The range that real images are stored in, where it is one of the usual ones."""
    low, high = float(real.min()), float(real.max())
    usual = [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)]
    return next(((a, b) for a, b in usual if a <= low and high <= b), None)


def _as_input(network: nn.Module, images: Tensor) -> Tensor:
    """Images, detached, in the type that a network computes in."""
    types = (p.dtype for p in network.parameters() if p.is_floating_point())
    return images.detach().to(next(types, torch.float32))
