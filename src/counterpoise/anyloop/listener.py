"""Finds out by hooks, in a loop as people write it, what a `game.Turn` is told."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from counterpoise.anyloop.direction import REVERSED, Direction
from counterpoise.anyloop.graph import comes_out_of_sigmoid
from counterpoise.anyloop.hooks import BACKWARD, OptimizerWatch, minimised
from counterpoise.anyloop.journal import Journal
from counterpoise.anyloop.loop_check import LoopChecker
from counterpoise.anyloop.output_gradients import OutputGradients
from counterpoise.anyloop.parts import DiscriminatorPart, GeneratorPart, Part
from counterpoise.anyloop.read_objective import infer_objective
from counterpoise.anyloop.shortfalls import needs_steps, shortfalls
from counterpoise.anyloop.tap import FAKE, OTHER, REAL, Call, Phase, Tap
from counterpoise.errors import UserError
from counterpoise.game.game import Game
from counterpoise.game.processes import rank
from counterpoise.game.r1 import R1_LEFT_OUT
from counterpoise.game.turn import Turn

NO_OUTPUTS = (
    "Balance: D's part showed no output of {who} on {missing} images; call the discriminator that "
    "was given to Balance there, on real and on fake images apart, or say step.logits(real=..., "
    "fake=...) in both parts"
)
NO_OBJECTIVE = (
    "Balance: the objective cannot be read from what is back-propagated in D's part; name it: "
    'objective="bce" (or lsgan, hinge, wgan, relativistic-average, relativistic-paired)'
)
UNKNOWN_YET = (
    "the objective is not known before D's loss is back-propagated; where D's gradients come in "
    'another way, name it: objective="bce"'
)
GIVEN_UP = (
    "D's part ended before D had judged real and fake images; such turns are neither recorded nor "
    "shown to the policy"
)
INPUT_SHARED = (
    "the policy would add noise to D's inputs or augment them, and cannot in this loop: D is given "
    "real and fake images in one call; call it on each apart to have that too"
)
IN_CLOSURE = R1_LEFT_OUT.format(why="D's loss is back-propagated inside of optimizer.step(closure)")
STEPPED_EARLY = R1_LEFT_OUT.format(
    why="D's optimizer steps before D has judged both real and fake images in its part"
)


class LoopListener:
    """Plays a game by listening to a loop; `handle.Balance` documents what it does."""

    def __init__(
        self,
        generators: Sequence[nn.Module],
        game: Game,
        journal: Journal,
        gradient_scale: Callable[[], float | Tensor],
    ) -> None:
        self.game, self._journal = game, journal
        self._gradient_scale = gradient_scale
        self.checker: LoopChecker | None = None
        self._open: Part | None = None
        self._turn: Turn | None = None
        self._g_parts = 1  # since the last turn's D part
        self._phases: list[Phase] = []
        self._g_losses: list[Tensor] = []
        # Of each D's calls in D's part under way, whether it was given more than the images.
        self._calls: dict[str, list[bool]] = {}
        # Ds that take real and fake images as two arguments of one call.
        self._in_one_call: set[str] = set()
        # Ds whose optimizer stepped in this turn before there was anything to decide on.
        self._early: set[str] = set()
        self._closed = False
        self._output = OutputGradients(game.sensors)
        self._directions = {name: Direction(name) for name in game.players}
        self._tap = Tap(
            generators,
            {name: player.network for name, player in game.players.items()},
            self._change_input,
            self._output.after_g,
            self._output.after_d,
        )
        game.aside, game.after_turn = self._unheard, lambda: self.flush(wait=False)
        self._watches = [
            OptimizerWatch(game.g_optimizer, self._on_g_optimizer),
            *(OptimizerWatch(each, self._d_listener(each)) for each in game.d_optimizers),
        ]

    def name_of(self, d: str | None) -> str:
        """The name of a discriminator; None is the only one."""
        names = list(self.game.players)
        if d in names or (d is None and len(names) == 1):
            return names[0] if d is None else d
        raise UserError(f"Balance: say which discriminator it is: d= one of {', '.join(names)}")

    # Where parts and turns begin and end.

    def begin_d(self) -> DiscriminatorPart:
        """D's part begins; a turn with it, unless one is under way."""
        self.end_open()
        if self._turn is None:
            asked = max(p.last_action.g_steps for p in self.game.players.values())
            if asked > self._g_parts:
                self.game.say(needs_steps("G", "g_steps", asked), "g_steps")
            self._journal.begin(self.game.steps_done, writes=rank() == 0)
            self._turn = self.game.begin()
            self._early, self._g_losses = set(), []
            self._output.forget()
        part = DiscriminatorPart(self)
        self._calls = {}
        self._listen(part)
        return part

    def begin_g(self) -> GeneratorPart:
        """G's part begins."""
        self.end_open()
        part = GeneratorPart(self)
        self._listen(part)
        return part

    def begin_turn(self) -> Turn:
        """A turn of a loop that says itself what it does."""
        self._check_open()
        self.end_open()
        self._journal.begin(self.game.steps_done, writes=rank() == 0)
        return self.game.begin()

    def end_open(self, *, failed: bool = False) -> None:
        """The open part ends."""
        if self._open is not None:
            self.end(self._open, failed=failed)

    def end(self, part: Part, *, failed: bool = False) -> None:
        """A part ends, unless it has already; where it `failed`, its turn is forgotten."""
        if part is not self._open:
            return
        phase = part.phase
        self._stop_listening(phase, failed=failed)
        if failed:
            self._turn = None
            return
        if phase.network == "d":
            self._end_d(phase)
        else:
            self._end_g(phase)
        for call in phase.d_calls:
            call.let_go()

    def close(self) -> None:
        """End what is open, but for D's part of an unfinished turn, and let go of everything."""
        if self._closed:
            return
        self.end_open(failed=self._open is not None and self._open.network == "d")
        self.flush()
        self._closed = True
        self._tap.close()
        for watch in self._watches:
            watch.close()
        self._journal.close()

    def flush(self, *, wait: bool = True) -> None:
        """Write down the turns whose numbers are here; `wait`: of all that ended."""
        self._note_objectives()
        for record in self.game.records(wait=wait):
            self._journal.step(record)

    def _note_objectives(self) -> None:
        for name, player in self.game.players.items():
            if player.objective is not None:
                self._journal.set_objective(player.objective.name, name)

    def watch_with(self, checker: LoopChecker) -> None:
        """Look for bugs of the loop."""
        self.checker = checker
        self._tap.with_lines = True

    def _check_open(self) -> None:
        if self._closed:
            raise UserError("Balance: it is closed; make a new one")

    def _listen(self, part: Part) -> None:
        self._check_open()
        self._open, self._tap.phase = part, part.phase
        self._output.in_g_part = part.network == "g"
        if self.checker is not None:
            part.phase.generated += self._tap.latest
        # The last of each: a loop may train D alone for long before G's first part.
        self._phases = [each for each in self._phases if each.network != part.network]
        self._phases.append(part.phase)
        BACKWARD.add(self._on_backward)
        if self.checker is not None:
            self.checker.begin(self.game.steps_done + 1)

    def _stop_listening(self, phase: Phase, *, failed: bool) -> None:
        self._open = self._tap.phase = None
        self._output.in_g_part = False
        BACKWARD.remove(self._on_backward)
        if self.checker is not None:
            self.checker.end(phase, failed=failed)

    @contextmanager
    def _unheard(self) -> Iterator[None]:
        """In here nothing is listened to."""
        with self._tap.muted(), BACKWARD.unheard():
            yield

    # D's part.

    def combine(self, part: Part, real: Tensor, fake: Tensor, d: str | None) -> Tensor:
        """D's loss as the action wants it."""
        turn, name = self._turn, self.name_of(d)
        assert turn is not None, "D's part begins a turn"
        self._read_objective(part.phase, [real, fake], name)
        self._decide(part.phase, name)
        return turn.d_loss(real, fake, d=name)

    def _read_objective(self, phase: Phase, losses: Sequence[Tensor], d: str) -> None:
        """Read the objective from losses that D's part is about to back-propagate."""
        player = self.game.players[d]
        self._directions[d].watch(phase)
        if player.objective is not None:
            return
        objective = infer_objective(losses, phase.outputs(d))
        if objective is not None and player.objective_name is not None:
            # What remains to be read is whether D's outputs are probabilities.
            player.name_objective(probabilities=objective.probabilities)
        elif objective is not None:
            player.set_objective(objective)

    def _is_ready(self, phase: Phase, d: str) -> bool:
        """Whether D has judged both kinds of images in this part, and the objective is known, or
        cannot be from what was back-propagated."""
        player = self.game.players[d]
        known = player.objective or player.objective_name or phase.backwards
        return bool(known) and len(phase.outputs(d)) == 2

    def _decide(self, phase: Phase, d: str) -> None:
        """Let a D's policy decide, once D has judged both kinds of images.

        Raises `UserError` where it has not, or the objective is not known.
        """
        turn, player = self._turn, self.game.players[d]
        assert turn is not None, "D's part begins a turn"
        real, fake = phase.call(REAL, d), phase.call(FAKE, d)
        if real is None or fake is None or real.outputs is None or fake.outputs is None:
            missing = " or ".join(kind for kind in (REAL, FAKE) if phase.call(kind, d) is None)
            raise UserError(NO_OUTPUTS.format(who=f"D '{d}'" if d else "D", missing=missing))
        if player.objective is None:
            if player.objective_name is None:
                raise UserError(NO_OBJECTIVE)
            sigmoid = comes_out_of_sigmoid(real.outputs) or comes_out_of_sigmoid(fake.outputs)
            player.name_objective(probabilities=sigmoid)
        turn.judge(
            real.outputs,
            fake.outputs,
            real=real.images,
            fake=fake.images,
            d=d,
            alone=real.images_alone and fake.images_alone,
        )

    def _judging(self, phase: Phase) -> list[str]:
        """The Ds that judge in a part: those that were called; where none was, all."""
        called = {call.d for call in phase.d_calls}
        return [name for name in self.game.players if name in called or not called]

    def _end_d(self, phase: Phase) -> None:
        turn = self._turn
        assert turn is not None, "D's part begins a turn"
        for name in self._judging(phase):
            player, own = self.game.players[name], turn.ds[name]
            if player.objective is None and not phase.backwards:
                # Nothing was back-propagated yet, so the loop has not shown what it trains on.
                self.game.say(UNKNOWN_YET, "objective")
                continue
            if own.action is None and self.game.steps_done and not self._is_ready(phase, name):
                # Turns work in this loop: it has given this one up, over a bad batch or an
                # exception.
                self._turn = None
                self.game.say(GIVEN_UP, "given up", logging.INFO)
                return
            self._decide(phase, name)
            if self._calls.get(name) == [True]:
                self._in_one_call.add(name)
            if name in self._early and own.asked.r1_weight:
                player.r1.problem = STEPPED_EARLY
                turn.go_without_r1(own)
            if own.signals is not None and self._directions[name].turn_shows(own.signals):
                player.is_reversed = True
                self.game.say(REVERSED, f"reversed {name}")

    # G's part.

    def weigh(self, loss: Tensor, d: str | None) -> Tensor:
        """G's adversarial term as the action weighs it."""
        return loss if self._turn is None else self._turn.weigh(loss, d=self.name_of(d))

    def _change_input(self, images: Tensor, phase: Phase, call: Call) -> Tensor:
        """A D's input as the policy wants it, before D sees it."""
        turn = self._turn
        if turn is None:
            return images
        own = turn.ds[call.d]
        if phase.network == "g":
            images, change = self._output.before_d(images, call.d, turn), own.change
        else:
            if call.d not in self._calls:
                turn.d_begin(call.d)
            self._calls.setdefault(call.d, []).append(call.among_others)
            change = own.change_now
        if call.d in self._in_one_call:
            if change.noise_std or change.augment_probability:
                self.game.say(INPUT_SHARED, "input shared")
            return images
        if call.kind == OTHER:
            return images
        return change.real(images) if call.kind == REAL else change.fake(images)

    def _end_g(self, phase: Phase) -> None:
        turn = self._turn
        phases, self._phases = self._phases, []
        if turn is None or all(own.action is None for own in turn.ds.values()):
            # G's part before the first of D's, or further ones after a turn.
            self._turn, self._g_parts = None, self._g_parts + 1
            return
        for name in turn.ds:
            call, known = phase.call(FAKE, name), self.game.players[name].objective is not None
            if known and call is not None and call.outputs is not None:
                turn.d_again(call.outputs, d=name)
        losses = self._g_losses or self._losses_of_form(turn, phase)
        self._turn, self._g_parts = None, 1
        self._output.read()
        turn.end(sum(losses[1:], start=losses[0]))
        for key, message, level in shortfalls(turn, phase, self._early):
            self.game.say(message, key, level)
        if self.checker is not None:
            self.checker.turn_ends(phases)
            if self.checker.finished:
                self.checker, self._tap.with_lines = None, False

    def _losses_of_form(self, turn: Turn, phase: Phase) -> list[Tensor]:
        """G's adversarial losses as the objectives have them, where the loop back-propagates
        nothing in G's part: from what the Ds say there, or else in theirs."""
        losses = []
        for name, own in turn.ds.items():
            objective = own.player.objective
            if objective is None or own.judged is None:
                continue
            here = {
                kind: objective.logits(call.outputs.detach())
                for kind in (REAL, FAKE)
                if (call := phase.call(kind, name)) is not None and call.outputs is not None
            }
            loss = objective.g_loss(here.get(REAL), here[FAKE]) if FAKE in here else None
            losses.append(objective.form.g_loss(*own.judged) if loss is None else loss)
        return losses

    # What is listened to.

    def _on_backward(
        self, tensors: Any, grad_tensors: Any = None, *_: Any, inputs: Any = None, **__: Any
    ) -> None:
        part = self._open
        if part is None or BACKWARD.running:
            return  # the latter inside of another, as a reentrant checkpoint's
        part.phase.backwards += 1
        roots = [tensors] if isinstance(tensors, Tensor) else list(tensors)
        if part.network == "d":
            for name in self._judging(part.phase):
                self._read_objective(part.phase, roots, name)
        elif self._turn is not None:
            scale = self._gradient_scale()
            self._g_losses += [loss / scale for loss in minimised(roots, grad_tensors)]
        if self.checker is not None:
            self.checker.backward(part.phase, roots, inputs)

    def _on_g_optimizer(self, run: Callable[[], Any]) -> Any:
        """G's optimizer's step was called: run it as the actions say."""
        part, turn = self._open, self._turn
        if part is None:
            return run()
        self._tell_checker("g", part, turn)
        if turn is None:
            return run()
        if self.checker is not None and (turn.rolls_back or not turn.g_steps):
            self.checker.held_by_policy("g")
        return turn.g_step(run)

    def _d_listener(self, optimizer: torch.optim.Optimizer) -> Callable[[Callable[[], Any]], Any]:
        """What is called for a step of this optimizer of one or several Ds."""
        names = [name for name, p in self.game.players.items() if p.optimizer is optimizer]
        return lambda run: self._on_d_optimizer(names, run)

    def _on_d_optimizer(self, names: Sequence[str], run: Callable[[], Any]) -> Any:
        part, turn = self._open, self._turn
        if part is None:
            return run()
        self._tell_checker("d", part, turn)
        if turn is None:
            return run()
        phase = part.phase
        if phase.network == "d":
            judging = [name for name in self._judging(phase) if name in names]
            undecided = [name for name in judging if turn.ds[name].action is None]
            ready = all(self._is_ready(phase, name) for name in undecided)
            if not ready or self._early & set(undecided):
                # D judges in a closure, or each half has a step of its own, and both or neither
                # are done: what this turn shows is decided on when D's part is over.
                self._early.update(undecided)
                for name in undecided:
                    turn.ds[name].updated = True
                return run()
            for name in judging:
                self._decide(phase, name)
        parts = [turn.ds[name] for name in names]
        if self.checker is not None and (
            turn.rolls_back or not any(own.asked.d_steps for own in parts)
        ):
            self.checker.held_by_policy("d")
        backwards = phase.backwards
        result = turn.d_step(run, d=names[0])
        for own in parts:
            if phase.backwards > backwards and own.r1_term is not None:
                # A closure: what was added to the gradients before it is gone.
                own.player.r1.problem, own.r1_term = IN_CLOSURE, None
                turn.go_without_r1(own)
        return result

    def _tell_checker(self, network: str, part: Part, turn: Turn | None) -> None:
        if self.checker is not None:
            chosen = turn is not None and any(own.has_d_loss for own in turn.ds.values())
            self.checker.optimizer_steps(network, part.phase, halves_chosen=chosen)

    # State.

    def state_dict(self) -> dict[str, Any]:
        """As `Balance.state_dict`."""
        self.end_open()
        self.flush()
        return self.game.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As `Balance.load_state_dict`."""
        self.game.load_state_dict(state)
        self._note_objectives()
