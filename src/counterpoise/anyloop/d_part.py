"""D's part of a loop: who judges what, when its policies are asked, and how it ends."""

import logging
from collections.abc import Collection, Sequence

from torch import Tensor

from counterpoise.anyloop.graph import ends_in_sigmoid
from counterpoise.anyloop.read_objective import infer_objective
from counterpoise.anyloop.reading import REVERSED, Reader, Side, note_gradients
from counterpoise.anyloop.tap import FAKE, INSIDE, REAL, Call, Phase, Place
from counterpoise.balance.fixed import NonePolicy
from counterpoise.errors import UserError
from counterpoise.game.game import Game
from counterpoise.game.turn import Turn

UNREAD = (
    "{line}Balance cannot see which outputs of D{who} are on real images and which on fake ones: "
    "{why}; say it in D's part: `with balance.d_step() as step:` ... step.logits(real=..., "
    "fake=...), and step.logits(fake=...) in G's"
)
NOT_CALLED = "it is not called there with gradients on"
NOT_TOLD = "its loss does not show any on {missing} images"
# Turns in a row after which a person is told that a loop cannot be read.
UNREAD_TURNS = 5
STEPPED_EARLY = (
    "the policy rests D, changes its learning rate or adds R1, and cannot in this loop: D's "
    "optimizer steps before D has judged both real and fake images in its part"
)


class DiscriminatorSide:
    """What hooks in D's part find out, told to the turn."""

    def __init__(self, game: Game, *, is_checked: bool) -> None:
        self._game = game
        self.is_checked = is_checked  # then all gradients at D's answers are noted
        self.readers = {name: Reader() for name in game.players}
        # Ds whose optimizer stepped in this turn before there was anything to decide on.
        self.early: set[str] = set()
        # Ds that were not trained so far.
        self._late: set[str] = set()

    @property
    def is_known(self) -> bool:
        """Whether nothing has to be read any more."""
        return all(reader.is_known() for reader in self.readers.values())

    def change_input(self, turn: Turn, phase: Phase, call: Call) -> dict[Place, Tensor]:
        """A D's inputs in D's or G's part that the policy wants otherwise, by their places."""
        before = phase.calls(call.d)
        if phase.network == "d" and not before:
            turn.d_begin(call.d)
        reader = self.readers[call.d]
        call.kinds = reader.kinds_of(call, phase.network, before)
        own = turn.ds[call.d]
        change = own.change_now if phase.network == "d" else own.change
        if not (change.noise_std or change.augment_probability):
            return {}
        changed: dict[Place, Tensor] = {}
        for kind, place in reader.places_of(call).items():
            if (
                place != INSIDE and place not in changed
            ):  # both kinds in one batch are changed alike
                by = change.real if kind == REAL else change.fake
                changed[place] = by(call.arguments[place])
        return changed

    def backward(
        self,
        phase: Phase,
        losses: Sequence[Tensor],
        weights: Sequence[Tensor | None],
        names: Sequence[str] = (),
    ) -> None:
        """These losses, times their weights, are about to be back-propagated: read how they pull
        the answers of the Ds that they are of, and the objective; of all that judge where none is
        named."""
        for name in names or self._judging(phase):
            calls = phase.calls(name)
            if self.is_checked or not self.readers[name].is_known(len(calls)):
                note_gradients(calls, losses, weights)
            player = self._game.players[name]
            if player.objective is not None:
                continue
            sides = self._sides(phase, name)
            tensors = [side.tensors for side in sides.values()]
            if (objective := infer_objective(losses, tensors)) is not None:
                # Where it was named it remains to be read whether D's outputs are probabilities.
                player.name_objective(probabilities=objective.probabilities)
                player.set_objective(player.objective or objective)

    def decide_before_step(self, turn: Turn, phase: Phase, names: Sequence[str]) -> bool:
        """The optimizer of these Ds is about to step: let their policies decide.

        False where D judges in a closure, or each half has a step of its own, and both or neither
        are done: what such a turn shows is decided on when D's part is over.
        """
        judging = [name for name in self._judging(phase) if name in names]
        undecided = {name for name in judging if turn.ds[name].action is None}
        if self.early & undecided or not all(self._is_ready(phase, name) for name in undecided):
            self.early |= undecided
            for name in undecided:
                turn.ds[name].updated = True
            return False
        for name in judging:
            self.decide(turn, phase, name)
        return True

    def decide(self, turn: Turn, phase: Phase, d: str) -> None:
        """Let a D's policy decide, where it can be seen what D says.

        Where not, that is said once, and the turn is one without this D: but for a policy that acts
        it is a `UserError`, unless D's loss has not begun to pull on anything.
        """
        player, reader, sides = self._game.players[d], self.readers[d], self._sides(phase, d)
        if len(sides) < 2:
            self._tell_unread(phase, d, sides)
            return
        reader.unread_turns = 0
        known = player.objective or player.objective_name
        if not known and isinstance(player.policy, NonePolicy):
            self._game.say(player.unknown_objective, f"unread {d}")
            return
        if d in self._late:
            self._late.discard(d)
            text = f"D{_named(d)} begins to learn in step {turn.step}"
            self._game.tell(turn.step, "note", text, logging.INFO)
        real, fake = sides[REAL], sides[FAKE]
        turn.judge(
            real.outputs,
            fake.outputs,
            real=real.images,
            fake=fake.images,
            d=d,
            probabilities=player.objective is None
            and any(ends_in_sigmoid(each.grad_fn) for each in [*real.tensors, *fake.tensors]),
            alone=real.alone and fake.alone,
            ask=real.ask,
        )

    def _tell_unread(self, phase: Phase, d: str, sides: Collection[str]) -> None:
        """It cannot be seen what a D says: after some turns a person is told."""
        player, reader, calls = self._game.players[d], self.readers[d], phase.calls(d)
        if not phase.backwards or (calls and not reader.has_begun):
            self._late.add(d)  # it is not trained yet, or its loss has a weight of 0
            return
        reader.unread_turns += 1
        if reader.unread_turns < UNREAD_TURNS:
            return
        missing = " and on ".join(kind for kind in (REAL, FAKE) if kind not in sides)
        why = NOT_TOLD.format(missing=missing) if calls else NOT_CALLED
        message = UNREAD.format(line=phase.line and f"{phase.line}: ", who=_named(d), why=why)
        if not isinstance(player.policy, NonePolicy):
            raise UserError(message)
        self._game.say(message, f"unread {d}")

    def end(self, turn: Turn, phase: Phase) -> None:
        """D's part is over."""
        for name in self._judging(phase):
            player, own, reader = self._game.players[name], turn.ds[name], self.readers[name]
            if player.objective is None and phase.d_calls and not phase.backwards:
                # Nothing was back-propagated, so the loop has not shown what it trains on.
                reader.unread_turns += 1
                if reader.unread_turns >= UNREAD_TURNS:
                    self._game.say(player.unknown_objective, f"unread {name}")
                continue
            if own.action is None or own.outputs is None:
                self.decide(turn, phase, name)
            if name in self.early and own.asked.r1_weight:
                player.r1.problem = STEPPED_EARLY
                turn.go_without_r1(own)
            if own.signals is not None and not reader.is_known():
                reader.end(phase.calls(name), own.signals)
                if reader.direction < 0:
                    player.is_reversed = True
                    self._game.say(REVERSED, f"reversed {name}")

    def _sides(self, phase: Phase, d: str) -> dict[str, Side]:
        """What a D says of each kind of images in a part, as far as it can be seen."""
        calls, player = phase.calls(d), self._game.players[d]
        key = d, len(calls), len(phase.given), phase.backwards
        if phase.read is None or phase.read[0] != key:
            given = {kind: outputs for (of, kind), outputs in phase.given.items() if of == d}
            by_place = bool(player.objective or player.objective_name)
            phase.read = key, self.readers[d].sides(calls, given, by_place=by_place)
        sides: dict[str, Side] = phase.read[1]
        return sides

    def _is_ready(self, phase: Phase, d: str) -> bool:
        """Whether D has judged both kinds of images in this part, and the objective is known, or
        cannot be from what was back-propagated."""
        player = self._game.players[d]
        known = player.objective or player.objective_name or phase.backwards
        return bool(known) and len(self._sides(phase, d)) == 2

    def _judging(self, phase: Phase) -> list[str]:
        """The Ds that judge in a part: those that were called; where none was, all."""
        called = {call.d for call in phase.d_calls} | {d for d, _ in phase.given}
        return [name for name in self._game.players if name in called or not called]


def _named(d: str) -> str:
    """A D's name behind "D", where there are several."""
    return f" '{d}'" if d else ""
