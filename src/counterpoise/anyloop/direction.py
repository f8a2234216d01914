"""Whether D is trained to score real images above fake ones, as all numbers here suppose."""

import torch
from torch import Tensor

from counterpoise.anyloop.hooks import BACKWARD
from counterpoise.anyloop.tap import FAKE, REAL, Phase
from counterpoise.game.processes import Numbers
from counterpoise.records import Signals

# So many turns in a row must agree.
TURNS = 10

REVERSED = (
    "D's loss pulls D's outputs down on real images and up on fake ones: label real images 1 and "
    "fake ones 0 (a loss without labels: turn its sign); or, if the loop does, say "
    "step.logits(real=..., fake=...) in D's part, since the two were taken for each other. Until "
    "then D's numbers are reversed, and the policy is not asked"
)


def note_pull(pulls: dict[str, Tensor], name: str, outputs: Tensor) -> None:
    """Add up, as `pulls[name]`, how the backward passes to come pull D's outputs: up where it is
    positive. Once for each name, and nothing where the outputs have no gradient."""
    if not outputs.requires_grad or name in pulls:
        return
    pulls[name] = torch.zeros((), device=outputs.device)

    def note(gradient: Tensor) -> None:
        if BACKWARD.running:
            pulls[name] = pulls[name] - gradient.detach().float().sum()

    outputs.register_hook(note)  # type: ignore[no-untyped-call]


class Direction:
    """Notes how backward passes in D's parts pull a D's outputs, until it is known."""

    def __init__(self) -> None:
        # 1 where D's loss drives real above fake, -1 the other way round, 0 while it is not known.
        self.known = 0
        self._in_a_row = 0  # turns that agree; negative where they say that it is reversed
        self._pulls: dict[str, Tensor] = {}

    def begin(self) -> None:
        self._pulls = {}

    def watch(self, phase: Phase, d: str) -> None:
        """A backward pass is about to run in D's part."""
        for kind in () if self.known else (REAL, FAKE):
            if (call := phase.call(kind, d)) is not None:
                note_pull(self._pulls, kind, call.outputs)

    def end(self, signals: Signals) -> None:
        """D's part is over, in a turn with these signals.

        Labels that are neither 0 nor 1 pull back what is beyond them, so only turns count in which
        D's loss drives real and fake further apart.
        """
        if len(self._pulls) < 2:
            return
        numbers = Numbers(self._pulls, self._pulls[REAL].device).get()
        pull = {kind: float(number) for kind, number in numbers.items()}
        apart = signals.real_logit_mean - signals.fake_logit_mean
        way = 0
        if pull[REAL] * pull[FAKE] < 0 and pull[REAL] * apart > 0:
            way = 1 if apart > 0 else -1
        self._in_a_row = way + self._in_a_row * (way * self._in_a_row > 0)
        if abs(self._in_a_row) == TURNS:
            self.known = way
