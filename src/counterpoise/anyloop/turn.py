"""One turn of the game, from D's part to G's: what it has shown, and its row in `signals.jsonl`."""

import time
from dataclasses import dataclass, field

from torch import Tensor

from counterpoise.actuators.inputs import InputChange
from counterpoise.anyloop.tap import Call
from counterpoise.records import NO_ACTION, NO_READINGS, Action, Readings, Signals, StepRecord

STAGE = "train"


@dataclass
class Turn:
    """The state of a turn. It begins with D's part (or the first of several) and ends with G's."""

    step: int
    change: InputChange  # what is done to D's inputs
    d_steps_before: int = 1  # steps of D that the action of the turn before asked for
    d_takes_r1: bool = True  # as far as is known
    started: float = field(default_factory=time.perf_counter)
    signals: Signals | None = None
    action: Action | None = None
    begun: bool = False  # whether the action is being carried out
    saturation: Readings = NO_READINGS
    real: Call | None = None  # D's first calls on real and fake images, graphs dropped
    fake: Call | None = None
    d_parts: int = 0
    d_updated: bool = False
    d_stepped_early: bool = False  # D's optimizer, before there was anything to decide on
    g_updated: bool = False
    g_backwards: int = 0  # backward passes in G's part
    d_learning_rate: float | None = None
    g_learning_rate: float = 0.0
    # Detached scalars, fetched together at the end.
    g_losses: list[Tensor] = field(default_factory=list)
    g_adversarial: list[Tensor] = field(default_factory=list)
    # The objective's own, used where the loop back-propagates nothing in G's part.
    g_loss_of_form: Tensor | None = None
    d_fake_after: Tensor | None = None
    d_penalty: Tensor | None = None
    readings: Readings = NO_READINGS

    @property
    def decided(self) -> Action:
        """The action, nothing where none was asked for yet."""
        return NO_ACTION if self.action is None else self.action

    def asked_of(self, network: str) -> tuple[int, float]:
        """How many steps of a network the action asks for, and its learning rate's scale."""
        action = self.decided
        if network == "d":
            return action.d_steps, action.d_learning_rate_scale
        return action.g_steps, action.g_learning_rate_scale

    def scalars(self) -> dict[str, Tensor]:
        """What is still to be fetched from the device, by name."""
        scalars = {}
        g_losses = self.g_losses or ([] if self.g_loss_of_form is None else [self.g_loss_of_form])
        if g_losses:
            scalars["g_loss"] = _sum(g_losses)
        if self.g_adversarial:
            scalars["g_adversarial"] = _sum(self.g_adversarial)
        if self.d_fake_after is not None:
            scalars["d_fake_after"] = self.d_fake_after
        if self.d_penalty is not None:
            scalars["d_penalty"] = self.d_penalty
        return scalars

    def record(self, values: dict[str, float]) -> StepRecord:
        """The row, with the fetched `scalars` as numbers."""
        g_loss = values["g_loss"]
        terms = {}
        if (adversarial := values.get("g_adversarial")) is not None:
            terms = {"adversarial": adversarial, "content": g_loss - adversarial}
        return StepRecord(
            step=self.step,
            stage=STAGE,
            g_loss=g_loss,
            g_terms=terms,
            g_updated=self.g_updated,
            g_learning_rate=self.g_learning_rate,
            seconds=time.perf_counter() - self.started,
            signals=self.signals,
            d_fake_after=values.get("d_fake_after"),
            d_penalty=values.get("d_penalty"),
            d_updated=self.d_updated,
            d_learning_rate=self.d_learning_rate,
            action=self.decided,
            readings=self.readings,
        )


def _sum(values: list[Tensor]) -> Tensor:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total
