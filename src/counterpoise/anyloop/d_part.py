"""D's part of a loop: who judges what, when its policies are asked, and how it ends."""

import logging
from collections.abc import Collection, Iterator, Sequence

from torch import Tensor

from counterpoise.anyloop.graph import ends_in_sigmoid
from counterpoise.anyloop.network_hooks import FAKE, INSIDE, REAL, DCall, Phase, Place
from counterpoise.anyloop.pulls import (
    WHOLE,
    Pattern,
    Pull,
    by_name,
    by_place_alone,
    by_pulls,
    pull_of,
    regions_of,
)
from counterpoise.anyloop.read_objective import infer_objective
from counterpoise.anyloop.reading import Side, joined, loss_of, note_gradients, side_of
from counterpoise.errors import UserError
from counterpoise.game.game import Game
from counterpoise.game.players import Player
from counterpoise.game.processes import Numbers
from counterpoise.game.turn import Turn
from counterpoise.records import Signals

UNREAD = (
    "{line}Balance cannot see which outputs of D{who} are on real images and which on fake ones: "
    "{why}; say it in D's part: `with balance.d_step() as step:` ... step.logits(real=..., "
    "fake=...), and step.logits(fake=...) in G's"
)
NOT_CALLED = "it is not called there with gradients on"
NO_SCORES = "it answers with images, as an autoencoder (EBGAN, BEGAN), and these are no scores"
NOT_TOLD = "its loss does not show any on {missing} images"
# Turns in a row after which a person is told that a loop cannot be read.
UNREAD_TURNS = 5
STEPPED_EARLY = (
    "the policy wants to skip D's step, scale its learning rate or add R1, but cannot here: D's "
    "optimizer steps before D has judged both real and fake images in its part"
)
REVERSED = (
    "D's loss pulls D's outputs down on real images and up on fake ones: label real images 1 and "
    "fake ones 0 (a loss without labels: turn its sign); or, if the loop does, say "
    "step.logits(real=..., fake=...) in D's part, since the two were taken for each other. Until "
    "then D's numbers are reversed, and the policy is not asked"
)
# So many turns in a row must say that D is, or is not, trained to score real above fake.
TURNS = 10
# After so many turns a loop is known, and is read no more.
READ_TURNS = 50


class Reader:
    """Reads one D's parts of the loop, and tells the turn what hooks find out in them. What was
    read in the first turns holds for all others."""

    def __init__(self, game: Game, player: Player) -> None:
        self._game, self._player = game, player
        self._who = f" '{player.name}'" if player.name else ""
        self._patterns: dict[int, Pattern] = {}  # by the number of D's calls in its part
        self._latest: Pattern = ()
        self._turns = 0
        # Rows of a call on both kinds of images, 0 where each kind has calls of its own.
        self._rows_of_both = 0
        # Turns in a row that agree in that D's loss drives real above fake; negative where they
        # say that it is reversed.
        self._in_a_row = 0
        # Whether D's loss was seen to pull on anything, and was not before.
        self._has_begun = self._starts_late = False
        # Turns in a row in which it could not be seen which output is which.
        self._unread_turns = 0
        # Whether its optimizer stepped in this turn before there was anything to decide on.
        self.stepped_early = False

    @property
    def is_known(self) -> bool:
        """Whether nothing is to be read any more."""
        return self._turns >= READ_TURNS

    # On which images D is asked.

    def change_input(self, turn: Turn, phase: Phase, call: DCall) -> dict[Place, Tensor]:
        """D's inputs in D's or G's part that the policy wants otherwise, by their places."""
        before = phase.calls(call.d)
        if phase.network == "d" and not before:
            turn.d_begin(call.d)
        call.kinds = self._kinds_of(call, before)
        own = turn.ds[call.d]
        change = own.change_now if phase.network == "d" else own.change
        if not (change.noise_std or change.augment_probability):
            return {}
        in_rows = any(own.rows != WHOLE for each in self._latest for own in each.values())
        changed: dict[Place, Tensor] = {}
        kinds = sorted(call.kinds, reverse=True)
        for kind, region in regions_of(call, dict.fromkeys(kinds, ())).items():
            place = call.place if in_rows else region.place
            if place != INSIDE and place not in changed:  # both kinds in one batch: changed alike
                by = change.real if kind == REAL else change.fake
                changed[place] = by(call.arguments[place])
        return changed

    def _kinds_of(self, call: DCall, before: Collection[DCall]) -> set[str]:
        """On which kinds of images a call is, as far as can be said before D has answered;
        `before`: D's calls before it in the part."""
        if call.network == "g":
            is_both = len(call.images) == self._rows_of_both  # as many as in a call on both in D's
            return {REAL, FAKE} if is_both else {REAL if call.fake_place is None else FAKE}
        if self._latest:
            return set(self._latest[call.number]) if call.number < len(self._latest) else set()
        kind = FAKE if call.from_g else REAL
        return set() if any(kind in each.kinds for each in before) else {kind}

    def outputs_in_g(self, call: DCall) -> Tensor | None:
        """D's scores of G's images among its answers in G's part."""
        scores = [each[FAKE] for each in self._latest if FAKE in each]
        numbers = {number for own in scores for number in own.tensors}
        tensors = [each for number, each in enumerate(call.outputs) if number in numbers]
        if len(call.images) == self._rows_of_both:
            tensors = [scores[0].of(each) for each in tensors]
        return joined(tensors) if tensors else None

    # What D says.

    def backward(
        self,
        phase: Phase,
        losses: Sequence[Tensor],
        weights: Sequence[Tensor | None],
        *,
        is_checked: bool,
    ) -> None:
        """These losses, times their weights, are about to be back-propagated: read how they pull
        D's answers (where the loop `is_checked`, in any case), and the objective."""
        if is_checked or not self.is_known:
            note_gradients(phase.calls(self._player.name), losses, weights)
        if self._player.objective is None:
            tensors = [side.tensors for side in self._sides_of(phase).values()]
            if (objective := infer_objective(losses, tensors)) is not None:
                # Where it was named it remains to be read whether D's outputs are probabilities.
                self._player.name_objective(probabilities=objective.probabilities)
                self._player.set_objective(self._player.objective or objective)

    def is_ready(self, phase: Phase) -> bool:
        """Whether D has judged both kinds of images in this part, and the objective is known, or
        cannot be from what was back-propagated."""
        known = self._player.objective or self._player.objective_name or phase.backwards
        return bool(known) and len(self._sides_of(phase)) == 2

    def is_silent(self, phase: Phase) -> bool:
        """Whether D's loss pulls on nothing yet, as before the step from which a loop trains D."""
        if self._has_begun:
            return False
        calls = phase.calls(self._player.name)
        gradients = [each for call in calls for each in call.gradients.values()]
        return bool(gradients) and not any(bool(each.any()) for each in gradients)

    def _sides_of(self, phase: Phase) -> dict[str, Side]:
        """What D says of each kind of images in a part; of a kind that cannot be seen, nothing."""
        calls = phase.calls(self._player.name)
        key = self._player.name, len(calls), len(phase.given), phase.backwards
        if phase.read is not None and phase.read[0] == key:
            known: dict[str, Side] = phase.read[1]
            return known
        given = {kind: out for (of, kind), out in phase.given.items() if of == self._player.name}
        pattern = by_name(calls, {kind: loss_of(calls, [out])[0] for kind, out in given.items()})
        pattern = pattern or self._read(calls)
        if pattern and pattern != self._latest:
            self._latest = pattern
            for call in calls:
                call.kinds = self._kinds_of(call, ())
                if len(call.kinds) == 2:
                    self._rows_of_both = len(call.images)
        sides = {
            kind: side
            for kind in (REAL, FAKE)
            if (side := side_of(kind, calls, pattern, given.get(kind))) is not None
        }
        phase.read = key, sides
        return sides

    def _read(self, calls: Sequence[DCall]) -> Pattern:
        """How a part with these calls of D is to be read, () where that cannot be seen."""
        pulled = self._read_pulls(calls) if any(call.gradients for call in calls) else 0
        pattern = self._patterns.get(len(calls), ())
        # A loss of one half says nothing of the other, but what a G made may be seen.
        is_seen = pulled == 1 and 0 < sum(call.from_g for call in calls) < len(calls)
        # A loss that pulls on nothing, having the weight 0 so far, is no silent one.
        is_silent = not any(call.gradients for call in calls)
        is_named = self._player.objective or self._player.objective_name
        if not pattern and (is_seen or (is_named and is_silent)):
            return by_place_alone(calls)
        return pattern

    def _read_pulls(self, calls: Sequence[DCall]) -> int:
        """Note how D's answers were pulled; of how many calls."""
        keys = [(call.number, number) for call in calls for number in sorted(call.gradients)]
        keys = [key for key in keys if not calls[key[0]].is_image(key[1])]
        if not keys:
            return 0
        tensors = {key: pull_of(calls[key[0]].gradients[key[1]]) for key in keys}
        numbers = Numbers(tensors, tensors[keys[0]].device).get()
        pulls = {key: pull for key in keys if (pull := Pull(*numbers[key].tolist())).size > 0}
        if pattern := by_pulls(calls, pulls):
            self._patterns[len(calls)] = pattern
        return len({number for number, _ in pulls})

    def decide(self, turn: Turn, phase: Phase) -> None:
        """Let D's policy decide, where it can be seen what D says.

        Where not, that is said once, and the turn is one without this D: but for a policy that acts
        it is a `UserError`, unless D's loss has not begun to pull on anything.
        """
        player, sides = self._player, self._sides_of(phase)
        if self.is_silent(phase):
            self._starts_late = True
            return
        if len(sides) < 2:
            self._tell_unread(phase, sides)
            return
        self._unread_turns = 0
        known = player.objective or player.objective_name
        if not known and not player.acts:
            self._game.say(player.unknown_objective, f"unread {player.name}")
            return
        real, fake = sides[REAL], sides[FAKE]
        turn.judge(
            real.outputs,
            fake.outputs,
            real=real.images,
            fake=fake.images,
            d=player.name,
            probabilities=player.objective is None
            and any(ends_in_sigmoid(each.grad_fn) for each in [*real.tensors, *fake.tensors]),
            alone=real.alone and fake.alone,
            ask=real.ask,
        )

    def _tell_unread(self, phase: Phase, sides: Collection[str]) -> None:
        """It cannot be seen what D says: after some turns a person is told."""
        calls = phase.calls(self._player.name)
        if not phase.backwards or (calls and not self._has_begun):
            # It is not trained yet, or its loss has a weight of 0; or it is left out this time.
            self._starts_late = not self._has_begun
            return
        self._unread_turns += 1
        if self._unread_turns < UNREAD_TURNS:
            return
        missing = " and on ".join(kind for kind in (REAL, FAKE) if kind not in sides)
        why = NOT_TOLD.format(missing=missing) if calls else NOT_CALLED
        if calls and all(call.is_image(n) for call in calls for n in call.gradients):
            why = NO_SCORES
        message = UNREAD.format(line=phase.line and f"{phase.line}: ", who=self._who, why=why)
        if self._player.acts:
            raise UserError(message)
        self._game.say(message, f"unread {self._player.name}")

    def end(self, turn: Turn, phase: Phase) -> None:
        """D's part is over."""
        player, own = self._player, turn.ds[self._player.name]
        calls = phase.calls(player.name)
        if player.objective is None and calls and not phase.backwards:
            # Nothing was back-propagated, so the loop has not shown what it trains on.
            self._unread_turns += 1
            if self._unread_turns >= UNREAD_TURNS:
                self._game.say(player.unknown_objective, f"unread {player.name}")
            return
        self._has_begun |= any(call.gradients for call in calls) and not self.is_silent(phase)
        if own.action is None or own.outputs is None:
            self.decide(turn, phase)
        if self._starts_late and own.action is not None:
            self._starts_late = False
            text = f"D{self._who} begins to learn in step {turn.step}"
            self._game.tell(turn.step, "note", text, logging.INFO)
        if self.stepped_early and own.asked.r1_weight:
            player.r1.problem = STEPPED_EARLY
            turn.go_without_r1(own)
        if own.signals is not None and not self.is_known:
            self._turns += 1
            self._read_direction(calls, own.signals)

    def _read_direction(self, calls: Sequence[DCall], signals: Signals) -> None:
        """Whether D is trained to score real images above fake ones.

        Labels that are neither 0 nor 1 pull back what is beyond them, so only turns count in which
        D's loss drives real and fake further apart.
        """
        pull = dict.fromkeys((REAL, FAKE), 0.0)
        for call, regions in zip(calls, self._latest, strict=False):
            for kind, region in regions.items():
                for gradient in (call.gradients.get(number) for number in region.tensors):
                    pull[kind] -= 0.0 if gradient is None else float(region.of(gradient).sum())
        if abs(self._in_a_row) == TURNS or not all(pull.values()):
            return
        apart = signals.real_logit_mean - signals.fake_logit_mean
        way = 0
        if pull[REAL] * pull[FAKE] < 0 and pull[REAL] * apart > 0:
            way = 1 if apart > 0 else -1
        self._in_a_row = way + self._in_a_row * (way * self._in_a_row > 0)
        if self._in_a_row == -TURNS:
            self._player.is_reversed = True
            self._game.say(REVERSED, f"reversed {self._player.name}")


class DiscriminatorReaders:
    """The readers of all Ds."""

    def __init__(self, game: Game, *, is_checked: bool) -> None:
        self._game = game
        self.is_checked = is_checked  # then all gradients at D's answers are noted
        self.readers = {name: Reader(game, player) for name, player in game.players.items()}

    @property
    def is_known(self) -> bool:
        """Whether nothing has to be read any more."""
        return all(reader.is_known for reader in self.readers.values())

    def judging(self, phase: Phase) -> Iterator[tuple[str, Reader]]:
        """The Ds that judge in a part: those that were called; where none was, all."""
        called = {call.d for call in phase.d_calls} | {d for d, _ in phase.given}
        yield from (each for each in self.readers.items() if each[0] in called or not called)

    def decide_before_step(self, turn: Turn, phase: Phase, names: Sequence[str]) -> bool:
        """The optimizer of these Ds is about to step: let their policies decide.

        False where D judges in a closure, or each half has a step of its own, and both or neither
        are done: what such a turn shows is decided on when D's part is over.
        """
        judging = {name: reader for name, reader in self.judging(phase) if name in names}
        for name, reader in judging.items():
            if reader.is_silent(phase):
                # Of halves that were given to `step.loss`, and got no weight.
                turn.ds[name].forget()
        undecided = [name for name in judging if turn.ds[name].action is None]
        if any(judging[n].stepped_early or not judging[n].is_ready(phase) for n in undecided):
            for name in undecided:
                judging[name].stepped_early = turn.ds[name].updated = True
            return False
        for reader in judging.values():
            reader.decide(turn, phase)
        return True
