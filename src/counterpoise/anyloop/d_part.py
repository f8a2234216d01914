"""D's part of a loop: who judges what, when its policies are asked, and how it ends."""

from collections.abc import Sequence

from torch import Tensor

from counterpoise.anyloop.direction import REVERSED, Direction
from counterpoise.anyloop.graph import ends_in_sigmoid
from counterpoise.anyloop.read_objective import infer_objective
from counterpoise.anyloop.tap import FAKE, OTHER, REAL, Call, Phase
from counterpoise.errors import UserError
from counterpoise.game.game import Game
from counterpoise.game.turn import Turn

NO_OUTPUTS = (
    "Balance: D's part showed no output of {who} on {missing} images; call the discriminator that "
    "was given to Balance there, on real and on fake images apart, or say step.logits(real=..., "
    "fake=...) in both parts"
)
INPUT_SHARED = (
    "the policy would add noise to D's inputs or augment them, and cannot in this loop: D is given "
    "real and fake images in one call; call it on each apart to have that too"
)
STEPPED_EARLY = (
    "the policy rests D, changes its learning rate or adds R1, and cannot in this loop: D's "
    "optimizer steps before D has judged both real and fake images in its part"
)


class DiscriminatorSide:
    """What hooks in D's part find out, told to the turn."""

    def __init__(self, game: Game) -> None:
        self._game = game
        self.directions = {name: Direction() for name in game.players}
        # Ds whose optimizer stepped in this turn before there was anything to decide on.
        self.early: set[str] = set()
        # Ds that take real and fake images as two arguments of one call.
        self._in_one_call: set[str] = set()

    def begin(self) -> None:
        for direction in self.directions.values():
            direction.begin()

    def change_input(self, images: Tensor, turn: Turn, phase: Phase, call: Call) -> Tensor:
        """A D's input in D's or G's part, as the policy wants it."""
        own = turn.ds[call.d]
        if phase.network == "d" and len(phase.among_others[call.d]) == 1:
            turn.d_begin(call.d)
        change = own.change_now if phase.network == "d" else own.change
        if call.kind == OTHER or not (change.noise_std or change.augment_probability):
            return images
        if call.d in self._in_one_call:
            self._game.say(INPUT_SHARED)
            return images
        return change.real(images) if call.kind == REAL else change.fake(images)

    def backward(self, phase: Phase, losses: Sequence[Tensor], names: Sequence[str] = ()) -> None:
        """These losses are about to be back-propagated: read the objective of the Ds that they are
        of, all that judge where none is named."""
        for name in names or self._judging(phase):
            self.directions[name].watch(phase, name)
            player = self._game.players[name]
            if player.objective is not None:
                continue
            if (objective := infer_objective(losses, phase.outputs(name))) is not None:
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
        """Let a D's policy decide; `UserError` where D has not judged both kinds of images, or its
        objective is not known."""
        player = self._game.players[d]
        real, fake = phase.call(REAL, d), phase.call(FAKE, d)
        if real is None or fake is None:
            missing = " or ".join(kind for kind in (REAL, FAKE) if phase.call(kind, d) is None)
            raise UserError(NO_OUTPUTS.format(who=f"D '{d}'" if d else "D", missing=missing))
        turn.judge(
            real.outputs,
            fake.outputs,
            real=real.images,
            fake=fake.images,
            d=d,
            probabilities=player.objective is None
            and (ends_in_sigmoid(real.outputs.grad_fn) or ends_in_sigmoid(fake.outputs.grad_fn)),
            alone=real.images_alone and fake.images_alone,
        )

    def end(self, turn: Turn, phase: Phase) -> bool:
        """D's part is over; whether its turn goes on."""
        for name in self._judging(phase):
            player, own = self._game.players[name], turn.ds[name]
            if player.objective is None and not phase.backwards:
                # Nothing was back-propagated yet, so the loop has not shown what it trains on.
                self._game.say(player.unknown_objective)
                continue
            if own.action is None and self._game.steps_done and not self._is_ready(phase, name):
                # Turns work in this loop: it has given this one up, over a bad batch or an
                # exception.
                return False
            if own.action is None or own.outputs is None:
                self.decide(turn, phase, name)
            if phase.among_others.get(name) == [True]:
                self._in_one_call.add(name)
            if name in self.early and own.asked.r1_weight:
                player.r1.problem = STEPPED_EARLY
                turn.go_without_r1(own)
            if not self.directions[name].known and own.signals is not None:
                self.directions[name].end(own.signals)
                if self.directions[name].known < 0:
                    player.is_reversed = True
                    self._game.say(REVERSED, f"reversed {name}")
        return True

    def _is_ready(self, phase: Phase, d: str) -> bool:
        """Whether D has judged both kinds of images in this part, and the objective is known, or
        cannot be from what was back-propagated."""
        player = self._game.players[d]
        known = player.objective or player.objective_name or phase.backwards
        return bool(known) and len(phase.outputs(d)) == 2

    def _judging(self, phase: Phase) -> list[str]:
        """The Ds that judge in a part: those that were called; where none was, all."""
        called = {call.d for call in phase.d_calls}
        return [name for name in self._game.players if name in called or not called]
