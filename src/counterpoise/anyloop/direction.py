"""Whether D is trained to score real images above fake ones, as all numbers here suppose."""

import torch
from torch import Tensor

from counterpoise.anyloop.hooks import BACKWARD
from counterpoise.anyloop.tap import FAKE, REAL, Phase
from counterpoise.game.processes import mean_of_each
from counterpoise.records import Signals

# So many turns in a row must agree, and so many are watched at most.
TURNS = 10
WATCHED_TURNS = 100

REVERSED = (
    "D's loss pulls D's outputs down on real images and up on fake ones: label real images 1 and "
    "fake ones 0 (a loss without labels: turn its sign); or, if the loop does, say "
    "step.logits(real=..., fake=...) in D's part, since the two were taken for each other. Until "
    "then D's numbers are reversed, and the policy is not asked"
)


def note_pull(pulls: dict[str, Tensor], name: str, outputs: Tensor | None) -> None:
    """Add up, as `pulls[name]`, how the backward passes to come pull D's outputs: up where it is
    positive. Once for each name, and nothing where the outputs have no gradient."""
    if outputs is None or not outputs.requires_grad or name in pulls:
        return
    pulls[name] = torch.zeros((), device=outputs.device)

    def note(gradient: Tensor) -> None:
        if BACKWARD.running:
            pulls[name] = pulls[name] - gradient.detach().float().sum()

    outputs.register_hook(note)  # type: ignore[no-untyped-call]


class Direction:
    """Notes how backward passes in D's part pull D's outputs, until it is known."""

    def __init__(self, d: str = "") -> None:
        """`d` is D's name."""
        self._d = d
        self._turns_left = WATCHED_TURNS
        # Turns in a row that agree; negative where they say that the direction is reversed.
        self._in_a_row = 0
        self._part: Phase | None = None
        self._pulls: dict[str, Tensor] = {}  # of this part

    def watch(self, phase: Phase) -> None:
        """A backward pass is about to run in D's part."""
        if not self._turns_left:
            return
        if phase is not self._part:
            self._part, self._pulls = phase, {}
        for kind in (REAL, FAKE):
            if (call := phase.call(kind, self._d)) is not None:
                note_pull(self._pulls, kind, call.outputs)

    def turn_shows(self, signals: Signals) -> bool:
        """D's part of a turn is over: whether it is known now that the direction is reversed.

        Labels that are neither 0 nor 1 pull back what is beyond them, so only turns count in which
        D's loss drives real and fake further apart.
        """
        pulls, self._part, self._pulls = self._pulls, None, {}
        if not self._turns_left or len(pulls) < 2:
            return False
        self._turns_left -= 1
        pull = mean_of_each(pulls, pulls[REAL].device)
        apart = signals.real_logit_mean - signals.fake_logit_mean
        way = 0
        if pull[REAL] * pull[FAKE] < 0 and pull[REAL] * apart > 0:
            way = 1 if apart > 0 else -1
        self._in_a_row = way + self._in_a_row * (way * self._in_a_row > 0)
        if abs(self._in_a_row) == TURNS:
            self._turns_left = 0
        return self._in_a_row == -TURNS
