"""Finds out by hooks, in a loop as people write it, what a `game.Turn` is told."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from counterpoise.anyloop.d_part import DiscriminatorReaders
from counterpoise.anyloop.g_part import GeneratorReader
from counterpoise.anyloop.hooks import (
    ENGINE,
    OptimizerWatch,
    is_backward,
    owned_ids,
    user_line,
)
from counterpoise.anyloop.journal import Journal
from counterpoise.anyloop.loop_check import LoopChecker
from counterpoise.anyloop.network_hooks import DCall, NetworkHooks, Phase, Place
from counterpoise.anyloop.parts import DiscriminatorPart, GeneratorPart
from counterpoise.anyloop.reading import note_gradients
from counterpoise.errors import UserError
from counterpoise.game.game import Game
from counterpoise.game.processes import rank
from counterpoise.game.turn import Turn

SHARED = (
    "Balance: another Balance has this optimizer, for another discriminator; give one Balance all "
    'of them: cp.Balance([g_a, g_b], {"A": d_a, "B": d_b}, g_optimizer, d_optimizer)'
)


REPLACED = (
    "another optimizer than Balance was given trains {name}'s weights, and that one does not any "
    "more: make a new Balance where an optimizer is made anew, with the old one's state_dict()"
)
REPLACED_STEPS = 5
ONE_OPTIMIZER = (
    "Balance: one optimizer trains G and D, as where the gradient is reversed between them, and a "
    'policy acts on each alone: give each its own, or say policy="none"'
)


class LoopListener:
    """Plays a game by listening to a loop; `handle.Balance` documents what it does. `checker` finds
    bugs of the loop, if it shall."""

    def __init__(
        self,
        generators: Sequence[nn.Module],
        game: Game,
        journal: Journal,
        checker: LoopChecker | None,
    ) -> None:
        self.game, self._journal, self._checker = game, journal, checker
        self._turn: Turn | None = None
        self.is_closed = False
        self._d = DiscriminatorReaders(game, is_checked=checker is not None)
        self._g = GeneratorReader(game)
        self._hooks = NetworkHooks(
            generators,
            {name: player.network for name, player in game.players.items()},
            self._change_input,
            self._g.after_g,
            self._g.after_d,
            checker,
        )
        game.aside, game.after_turn = self._unheard, partial(self.flush, wait=False)
        self._watches = [OptimizerWatch(game.g_optimizer, partial(self._on_step, []), self)]
        for each in game.d_optimizers:
            names = [name for name, player in game.players.items() if player.optimizer is each]
            self._watches.append(OptimizerWatch(each, partial(self._on_step, names), self))
        # Steps of others with an optimizer's weights, since that was called last.
        self._replaced: Counter[Optimizer] = Counter()
        self._others = register_optimizer_step_post_hook(self._on_other_step)

    # Where parts and turns begin and end.

    def begin_d(self) -> DiscriminatorPart:
        """D's part begins; a turn with it, unless one is under way."""
        self.end_open()
        if self._turn is not None and not self._g.losses and not self._turn.has_judged:
            self._turn = None  # the loop has given it up, over a bad batch or an exception
        if self._turn is None:
            self._g.turn_begins()
            self._turn = self.begin_turn()
            for reader in self._d.readers.values():
                reader.stepped_early = False
        self._hooks.compares = self._checker is not None or not self._d.is_known
        part = DiscriminatorPart(self)
        self._listen(part)
        return part

    def begin_g(self) -> GeneratorPart:
        self.end_open()
        part = GeneratorPart(self)
        self._listen(part)
        return part

    def begin_turn(self) -> Turn:
        """A turn, as of a loop that says itself what it does."""
        self._check_open()
        self.end_open()
        self._journal.begin(self.game.steps_done, writes=rank() == 0)
        return self.game.begin()

    def end_open(self, *, failed: bool = False) -> None:
        if self._hooks.phase is not None:
            self.end(self._hooks.phase, failed=failed)

    def end(self, part: Phase, *, failed: bool = False) -> None:
        """A part ends, unless it has already; where it `failed`, its turn is forgotten."""
        if part is not self._hooks.phase:
            return
        self._hooks.phase = None
        self._g.is_open = False
        ENGINE.remove(self._on_engine)
        if failed:
            self._turn = None
            return
        if self._checker is not None:
            self._checker.part_ends(part)
        if part.network == "g":
            if self._g.end(self._turn, part, self._d.readers):
                self._turn = None
                self._check_turn()
        elif self._turn is not None:
            for _, reader in self._d.judging(part):
                reader.end(self._turn, part)
            if not part.d_calls:
                self._hooks.hear_forward()
        part.d_calls.clear()  # with the graphs behind them
        part.read = None

    def close(self) -> None:
        """End what is open, but for D's part of an unfinished turn, and let go of everything."""
        if self.is_closed:
            return
        self.end_open(failed=self._hooks.phase is not None and self._hooks.phase.network == "d")
        self.flush()
        self.is_closed = True
        self._hooks.close()
        if self._checker is not None:
            self._checker.close()
        self._others.remove()
        for watch in self._watches:
            watch.close()
        self._journal.close()

    def flush(self, *, wait: bool = True) -> None:
        """Write down the turns whose numbers are here; `wait`: of all that ended."""
        for name, player in self.game.players.items():
            if player.objective is not None:
                self._journal.set_objective(player.objective.name, name)
        for record in self.game.records(wait=wait):
            self._journal.step(record)

    def _check_open(self) -> None:
        if self.is_closed:
            raise UserError("Balance: it is closed; make a new one")

    def _listen(self, part: Phase) -> None:
        self._check_open()
        self._hooks.phase = part
        self._g.is_open = part.network == "g"
        ENGINE.add(self._on_engine)
        if self._checker is not None:
            self._checker.part_begins(self.game.steps_done + 1)

    def _check_turn(self) -> None:
        if self._checker is not None:
            self._checker.turn_ends()
            if self._checker.is_finished:
                self._checker, self._d.is_checked = None, False
                self._hooks.end_check()

    @contextmanager
    def _unheard(self) -> Iterator[None]:
        part, self._hooks.phase = self._hooks.phase, None
        try:
            yield
        finally:
            self._hooks.phase = part

    # What parts are told.

    def combine(self, part: Phase, real: Tensor, fake: Tensor, d: str | None) -> Tensor:
        """D's loss as the action wants it."""
        turn, name = self._turn, self.game.name_of(d)
        assert turn is not None, "D's part begins a turn"
        reader = self._d.readers[name]
        reader.backward(part, [real, fake], [None, None], is_checked=self._d.is_checked)
        reader.decide(turn, part)
        for call in part.calls(name):
            call.gradients = {}  # what is back-propagated may have another weight
        # Not judged: it is not trained yet, or cannot be read.
        judged = turn.ds[name].action is not None
        return turn.d_loss(real, fake, d=name) if judged else real + fake

    def weigh(self, loss: Tensor, d: str | None) -> Tensor:
        """G's adversarial term as the action weighs it."""
        return loss if self._turn is None else self._turn.weigh(loss, d=d)

    # What is listened to.

    def _change_input(self, phase: Phase, call: DCall) -> dict[Place, Tensor]:
        """A D's inputs that the policy wants otherwise, before D sees them."""
        weighed: dict[Place, Tensor] = {}
        if self._turn is None:
            return weighed
        if phase.network == "g":
            images = self._g.before_d(call.images, call.d, self._turn)
            if images is not call.images:
                weighed = {call.place: images}
                call.arguments.update(weighed)
        return weighed | self._d.readers[call.d].change_input(self._turn, phase, call)

    def _on_engine(self, *given: Any, accumulate_grad: bool = False, **__: Any) -> Any:
        """A backward pass, or `autograd.grad`, is about to run: from roots times weights, for
        inputs alone where there are any."""
        roots, weights, retains, creates, inputs = given[:5]
        part, checker = self._hooks.phase, self._checker
        if part is None or is_backward():
            return None  # the latter inside of another, as a reentrant checkpoint's
        if not accumulate_grad:
            if self._is_functional(part, inputs):
                self._read_loss(part, roots, weights)
            return checker and checker.gradient(part, roots, inputs)
        self._read_loss(part, roots, weights)
        if part.network == "g" and self._d.is_checked:
            note_gradients(part.d_calls, roots, weights)
        is_retained = retains and not creates
        return checker and checker.backward(part, roots, weights, inputs, is_retained=is_retained)

    def _is_functional(self, part: Phase, inputs: Sequence[Tensor]) -> bool:
        """Whether gradients are asked for of all that a network's optimizer trains, as where they
        are written into `.grad` by hand."""
        game, given = self.game, set(map(id, inputs))
        optimizers = game.d_optimizers if part.network == "d" else [game.g_optimizer]
        return any(owned_ids(optimizer) <= given for optimizer in optimizers)

    def _read_loss(
        self, part: Phase, roots: Sequence[Tensor], weights: Sequence[Tensor | None]
    ) -> None:
        """These losses, times their weights, are about to be differentiated."""
        part.backwards += 1
        if part.network == "d":
            if not self._d.is_known:
                part.line = user_line()
            for _, reader in self._d.judging(part):
                reader.backward(part, roots, weights, is_checked=self._d.is_checked)
        elif self._turn is not None:
            self._g.minimises(roots, weights)

    def _on_other_step(self, optimizer: Optimizer, *_: Any) -> None:
        """Any optimizer of this process has stepped: one that was made anew, and is not known here,
        trains what the old one did."""
        own = [("G", self.game.g_optimizer), *(("D", each) for each in self.game.d_optimizers)]
        if self._hooks.phase is None or optimizer in (each for _, each in own):
            return
        for name, known in own:
            if owned_ids(known) <= owned_ids(optimizer):
                self._replaced[known] += 1
                if self._replaced[known] == REPLACED_STEPS:
                    self.game.say(REPLACED.format(name=name))

    def _on_step(self, names: Sequence[str], run: Callable[[], Any]) -> Any:
        """The step of an optimizer was called, of these Ds' or (none) of G's: run it as the actions
        say."""
        part, turn, players = self._hooks.phase, self._turn, self.game.players
        self._replaced[players[names[0]].optimizer if names else self.game.g_optimizer] = 0
        if part is None:
            return run()
        self._g.has_stepped |= not names
        is_decided = turn is not None
        if turn is not None and names and part.network == "d":
            is_decided = self._d.decide_before_step(turn, part, names)
        if self._checker is not None:
            rests = turn is not None and is_decided and turn.leaves_out(*names)
            chosen = turn is not None and any(own.has_d_loss for own in turn.ds.values())
            self._checker.optimizer_steps(
                "d" if names else "g", part, rests=rests, halves_chosen=chosen
            )
        if turn is None or not is_decided:
            return run()
        return turn.d_step(run, d=names[0]) if names else turn.g_step(run)


def refuse_shared(game: Game) -> None:
    """Raise `UserError` where a policy acts and G and D share an optimizer, or where another game
    has one of this game's: each would change the rates of all that it owns. One around the same Ds,
    as where a notebook's cell is run again, takes the other's place."""
    players = game.players.values()
    if game.g_optimizer in game.d_optimizers and any(each.acts for each in players):
        raise UserError(ONE_OPTIMIZER)
    for optimizer in (game.g_optimizer, *game.d_optimizers):
        other = getattr(optimizer.step, "owner", None)
        if not isinstance(other, LoopListener) or other.is_closed:
            continue
        others = other.game.players.values()
        same = {each.network for each in players} == {each.network for each in others}
        if not same and any(each.acts for each in (*players, *others)):
            raise UserError(SHARED)
