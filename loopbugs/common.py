"""What the loops share: small networks, data, and the place where Balance comes in, or does not.

A case is a function `(run, bug)` whose body is a training as people write it. `bug` is None, or the
name of one of the bugs that the decorator `loop` lists; the lines of a bug stand in the body. A
loop without bugs in its decorator is one of the correct loops.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import counterpoise as cp

TURNS = 10
SIZE = 8  # images in a batch
NOISE = 8  # numbers in a noise vector
CLASSES = 4


@dataclass(frozen=True)
class Bug:
    """One bug of a loop.

    kind: what the README's table of threads names it by; both halves use the same names.
    accept: codes of findings that name this bug, of the loop check or of the diagnosis.
    name: tells apart bugs of the same kind in one loop.
    turns: turns that are run; more where the bug can only show later.
    """

    kind: str
    accept: frozenset[str]
    name: str = ""
    turns: int = TURNS


def bug(kind: str, *accept: str, name: str = "", turns: int = TURNS) -> Bug:
    """A `Bug`, named after its kind unless it has a name of its own."""
    return Bug(kind, frozenset(accept), name or kind, turns)


@dataclass(frozen=True)
class Loop:
    """A loop and its bugs. `allow`: codes that are true of it, and so no false alarms."""

    train: Callable[["Run", str | None], None]
    bugs: tuple[Bug, ...]
    allow: frozenset[str]
    turns: int

    @property
    def name(self) -> str:
        return self.train.__name__


LOOPS: list[Loop] = []


def loop(*bugs: Bug, allow: set[str] | None = None, turns: int = TURNS) -> Callable[..., Any]:
    """Registers the loop that it decorates, with its bugs."""

    def register(train: Callable[["Run", str | None], None]) -> Callable[..., None]:
        LOOPS.append(Loop(train, bugs, frozenset(allow or ()), turns))
        return train

    return register


class BareStep:
    """What a block of a part gives, without Balance."""

    def __enter__(self) -> "BareStep":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def loss(self, *, real: Tensor, fake: Tensor) -> Tensor:
        """Their sum, which is what Balance gives with the policy none."""
        return real + fake

    def logits(self, **outputs: Tensor) -> None:
        """Nothing."""


class Bare:
    """The calls of a loop with Balance, doing nothing."""

    def d_step(self) -> BareStep:
        return BareStep()

    def g_step(self) -> BareStep:
        return BareStep()

    def end_step(self) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass
class Run:
    """One run of a loop: how many turns, with Balance or without, and what came out.

    looked_for: codes of which one is enough to end the run.
    networks: those that were given to `watch`, by name.
    found: code of each finding of the loop check, and the turn after which it was there.
    lines: the line of code that it names.
    """

    turns: int
    balanced: bool
    looked_for: frozenset[str] = frozenset()
    networks: dict[str, nn.Module] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)
    lines: dict[str, str] = field(default_factory=dict)
    balance: Any = None
    turn: int = 0

    def watch(
        self, g: Any, d: Any, g_optimizer: Any, d_optimizer: Any, **options: Any
    ) -> "cp.Balance | Bare":
        """Balance around the loop, with the policy none and the loop check; or nothing."""
        for name, given in (("g", g), ("d", d)):
            if isinstance(given, nn.Module):
                self.networks[name] = given
            else:
                named = given if isinstance(given, dict) else dict(enumerate(given))
                self.networks.update({f"{name} {key}": one for key, one in named.items()})
        if not self.balanced:
            self.balance = Bare()
        else:
            self.balance = cp.Balance(
                g, d, g_optimizer, d_optimizer, policy="none", check=True, **options
            )
        return self.balance

    def batches(self, draw: Callable[[torch.Generator], Any] | None = None) -> Iterator[Any]:
        """A batch a turn: images [8, 1, 8, 8] in -1 to 1, unless `draw` makes others."""
        seed = torch.Generator().manual_seed(1)
        while self.turn < self.turns and not self.looked_for & self.found.keys():
            self.turn += 1
            yield (draw or images)(seed)
            self.look()

    def close(self) -> None:
        """Ends the last turn."""
        self.balance.close()
        self.look()

    def look(self) -> None:
        """Notes the findings that are new since the last look."""
        for finding in getattr(self.balance, "loop_findings", ()):
            if finding.id not in self.found:
                self.found[finding.id] = self.turn
                self.lines[finding.id] = finding.line


def images(seed: torch.Generator) -> Tensor:
    """Smooth images [8, 1, 8, 8] in -1 to 1, the data of most loops."""
    coarse = torch.randn(SIZE, 1, 4, 4, generator=seed)
    return torch.tanh(1.5 * F.interpolate(coarse, scale_factor=2, mode="bilinear"))


def labelled(seed: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images and their classes [8], which show in the images' brightness."""
    classes = torch.randint(CLASSES, (SIZE,), generator=seed)
    return (images(seed) * 0.5 + (classes / 3 - 0.5).view(-1, 1, 1, 1)).clamp(-1, 1), classes


def pairs(seed: torch.Generator) -> tuple[Tensor, Tensor]:
    """A blurred image, and the image."""
    sharp = images(seed)
    return F.avg_pool2d(sharp, 3, 1, 1), sharp


def rows(seed: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rows of a table [8, 6] in -1 to 1, and a condition as one-hot [8, 4]."""
    return torch.tanh(torch.randn(SIZE, 6, generator=seed)), F.one_hot(
        torch.randint(CLASSES, (SIZE,), generator=seed), CLASSES
    ).float()


def sounds(seed: torch.Generator) -> tuple[Tensor, Tensor]:
    """A coarse envelope [8, 1, 16], and the waveform [8, 1, 64] with it."""
    envelope = torch.rand(SIZE, 1, 16, generator=seed)
    wave = torch.sin(torch.arange(64) * (0.5 + torch.rand(SIZE, 1, 1, generator=seed)))
    return envelope, wave * F.interpolate(envelope, scale_factor=4)


def mlp(*sizes: int, end: nn.Module | None = None) -> nn.Sequential:
    """Linear layers with leaky ReLU between them, and `end` behind."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1], *([end] if end else []))


def generator(
    inputs: int = NOISE, *, batch_norm: bool = False, end: nn.Module | None = None
) -> nn.Sequential:
    """Images [n, 1, 8, 8] of vectors, with a tanh at the end unless `end` is given."""
    norm = [nn.BatchNorm2d(8)] if batch_norm else []
    return nn.Sequential(
        nn.Linear(inputs, 128),
        nn.Unflatten(1, (8, 4, 4)),
        *norm,
        nn.ReLU(),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(8, 1, 3, padding=1),
        end or nn.Tanh(),
    )


def translator(channels: int = 1) -> nn.Sequential:
    """Images of images, of the same size."""
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 1, 3, padding=1),
        nn.Tanh(),
    )


def discriminator(
    outputs: int = 1, *, norm: type[nn.Module] | None = None, end: nn.Module | None = None
) -> nn.Sequential:
    """`outputs` numbers [n, outputs] for each image; logits, unless `end` makes others of them."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(8, 16, 4, 2, 1),
        *([norm(16)] if norm else []),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(64, outputs),
        *([end] if end else []),
    )


def patches(channels: int = 2) -> nn.Sequential:
    """A map of logits [n, 1, 2, 2] for each image, as a PatchGAN has."""
    return nn.Sequential(
        nn.Conv2d(channels, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 4, 2, 1)
    )


class Features(nn.Module):
    """A discriminator of waveforms that returns its logits and its feature maps."""

    def __init__(self, period: int = 1) -> None:
        super().__init__()
        self.period = period
        self.convolutions = nn.ModuleList([nn.Conv1d(1, 8, 5, 2, 2), nn.Conv1d(8, 8, 5, 2, 2)])
        self.last = nn.Conv1d(8, 1, 3, padding=1)

    def forward(self, wave: Tensor) -> tuple[Tensor, list[Tensor]]:
        wave, maps = wave[..., :: self.period], []
        for convolution in self.convolutions:
            wave = F.leaky_relu(convolution(wave), 0.1)
            maps.append(wave)
        return self.last(wave).flatten(1), maps


class Scales(nn.Module):
    """Several of them: lists of logits and of feature maps, as vocoders have."""

    def __init__(self, *periods: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(Features(period) for period in periods)

    def forward(self, wave: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        answers = [part(wave) for part in self.parts]
        return [logits for logits, _ in answers], [maps for _, maps in answers]


class Vocoder(nn.Sequential):
    """Waveforms [n, 1, 64] of envelopes [n, 1, 16]."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv1d(1, 8, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=4),
            nn.Conv1d(8, 1, 5, padding=2),
            nn.Tanh(),
        )


class Conditioned(nn.Module):
    """A network of a vector or an image, and of a class beside it."""

    def __init__(self, body: nn.Module, inputs: int) -> None:
        super().__init__()
        self.body = body
        self.embedding = nn.Embedding(CLASSES, inputs)

    def forward(self, given: Tensor, classes: Tensor) -> Tensor:
        beside = self.embedding(classes)
        if given.ndim == 4:
            beside = beside.view(-1, 1, 8, 8)
            return self.body(given + beside)  # type: ignore[no-any-return]
        return self.body(torch.cat([given, beside], 1))  # type: ignore[no-any-return]


def noise(count: int = SIZE) -> Tensor:
    """Noise [count, 8] of the global random state."""
    return torch.randn(count, NOISE)


def adam(*networks: nn.Module, learning_rate: float = 2e-4) -> torch.optim.Adam:
    """Adam as DCGAN has it, over the parameters of the networks."""
    parameters = itertools.chain(*(network.parameters() for network in networks))
    return torch.optim.Adam(parameters, learning_rate, betas=(0.5, 0.999))
