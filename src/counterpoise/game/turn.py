"""One turn of a game, told what happens in it: each D judges and is updated, then G."""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from counterpoise.actuators.d_terms import d_terms
from counterpoise.actuators.inputs import InputChange
from counterpoise.errors import UserError
from counterpoise.game.objective import Ask, ask_alone
from counterpoise.game.players import DiscriminatorTurn, Player, step_parted, step_scaled
from counterpoise.game.r1 import without_r1
from counterpoise.game.sensing import G, key_of
from counterpoise.records import NO_ACTION, Action
from counterpoise.sensors.discriminator import image_means

if TYPE_CHECKING:
    from counterpoise.game.game import Game

ADVERSARIAL, CONTENT = "adversarial", "content"
# What is fetched of a turn: what it is, and its name, or that of the D that it is of.
Key = tuple[str, str]
AFTER, PENALTY = "after", "penalty"
# The reason of a policy that gives none.
ASKED = "asked for by the policy"
NO_STATE = "step {step}: cannot go back, no state was kept ({reason}); training on"


class Turn:
    """One turn of a game: the interface of a loop that says itself what it does.

        turn = game.begin()
        real_seen, fake_seen = turn.change.real(real), turn.change.fake(fake.detach())
        turn.judge(d(real_seen), d(fake_seen), real=real, fake=fake)
        loss = turn.d_loss(loss_on_real, loss_on_fake)
        d_optimizer.zero_grad(); loss.backward(); turn.d_step(d_optimizer.step)

        adversarial = turn.weigh(loss_of(d(turn.change.fake(fake))))
        g_optimizer.zero_grad(); (content + adversarial).backward(); turn.g_step(g_optimizer.step)
        turn.end(content + adversarial)

    With several discriminators each call says which it is about by `d`, its name. `d_begin` begins
    a further part of D, on another batch.
    """

    def __init__(self, game: "Game", step: int) -> None:
        self.game, self.step = game, step
        self.g_updated = False
        self.ds: dict[str, DiscriminatorTurn] = {}
        for name, player in game.players.items():
            change = game.input_change(player.last_action)
            before = player.last_action.d_steps
            self.ds[name] = DiscriminatorTurn(player, change, change, before)
        # G's weighted adversarial terms that `weigh` was given, by D, detached.
        self.adversarial: dict[str, Tensor] = {}
        # What is to be recorded, detached and on its device.
        self.numbers: dict[Key, Tensor] = {}
        game.sensors.begin(step)

    def of(self, d: str | None) -> DiscriminatorTurn:
        """A discriminator's part of the turn; None is the only one."""
        return self.ds[self.game.name_of(d)]

    @property
    def change(self) -> InputChange:
        """What is done to the only D's inputs, as its policy asked before."""
        return self.of(None).change_now

    # D's part.

    def d_begin(self, d: str | None = None) -> DiscriminatorTurn:
        """A part of D begins. What is done to the inputs of a further one is drawn anew, and is
        what this turn's action asks for."""
        part = self.of(d)
        part.parts += 1
        part.has_d_loss = False
        if part.parts > 1:
            part.change_now = self.game.input_change(part.asked)
            part.outputs = part.real = None
        return part

    def judge(
        self,
        real_outputs: Tensor,
        fake_outputs: Tensor,
        *,
        real: Tensor | None = None,
        fake: Tensor | None = None,
        d: str | None = None,
        probabilities: bool = False,
        ask: Ask | None = ask_alone,
        alone: bool = True,
    ) -> Action:
        """D has judged a batch: what its policy asks for, once in a turn.

        Outputs are D's, before the loss and with their graph: (N,), (N, 1) or maps (N, 1, h, w);
        `probabilities` where D ends in a sigmoid. `real` and `fake` are the images (N, ...) before
        `change`, for the sensors and for R1; `ask`: how D is asked about images again (None: it
        cannot be), and whether it needs nothing else (`alone`). `UserError` where D's objective is
        not known.
        """
        game, part = self.game, self.of(d)
        check_tensors("D's outputs", real_outputs, fake_outputs)
        part.player.name_objective(probabilities=probabilities)
        objective = part.player.known_objective()
        if not part.parts:
            self.d_begin(d)
        part.outputs = real_outputs, fake_outputs
        part.real, part.ask = None if real is None else real.detach(), ask
        if part.action is not None:
            return part.action
        judged = [objective.logits(outputs.detach()) for outputs in part.outputs]
        if game.deferred:
            # Copies: a graph replayed in the next step writes over D's own.
            judged = [logits.clone() for logits in judged]
        part.judged = judged[0], judged[1]
        player = part.player
        if game.sensors.reads_images and real is not None and fake is not None:
            with game.aside():
                game.sensors.read_images(part, real, fake, ask if alone else None)
        signals = game.seen(self, part)
        action = NO_ACTION if player.is_reversed else player.policy.observe(signals)
        action = self._possible(player, action)
        part.action = player.last_action = action
        if action.keep_snapshot and not any(
            each.last_action.is_unsafe for each in game.players.values()
        ):
            game.snapshot.take(self.step)
        return action

    def _possible(self, player: Player, action: Action) -> Action:
        """The action without what cannot be had; a person is told."""
        if action.r1_weight and player.r1.problem:
            self.game.say(player.r1.problem)
            action = without_r1(action)
        if action.roll_back and self.game.snapshot.taken_step is None:
            text = NO_STATE.format(step=self.step, reason=action.reason or ASKED)
            self.game.tell(self.step, "note", text, logging.WARNING)
            action = dataclasses.replace(action, roll_back=False)
        return action

    def d_loss(self, real: Tensor, fake: Tensor, *, d: str | None = None) -> Tensor:
        """D's loss from its halves, as the action wants it: both or one of them, with what
        `actuators.d_terms` adds. `judge` comes before."""
        part = self.of(d)
        check_tensors("D's losses", real, fake)
        if part.action is None or part.outputs is None:
            raise UserError("turn.d_loss: D has not judged; say turn.judge(...) before")
        action, objective = part.action, part.player.known_objective()
        halves = [(real, action.d_trains_on_real), (fake, action.d_trains_on_fake)]
        wanted = [half for half, on in halves if on]
        # Where neither is wanted the step is left out, and any gradient will do.
        loss = sum(wanted[1:], start=wanted[0]) if wanted else real + fake
        part.has_d_loss = True
        on_real, on_fake = (objective.logits(outputs) for outputs in part.outputs)
        for term in d_terms(action, on_real, on_fake):
            loss = loss + term
            self.d_penalty(term, d=d)
        return loss

    def d_penalty(self, term: Tensor, *, d: str | None = None) -> None:
        """Note what else the loop adds to D's loss, a scalar: it is recorded with the first part
        of the turn."""
        check_scalar("D's penalty", term)
        part = self.of(d)
        if part.parts <= 1:
            self._add_penalty(part, term)

    def _add_penalty(self, part: DiscriminatorTurn, term: Tensor) -> None:
        key = PENALTY, part.player.name
        before = self.numbers.get(key)
        self.numbers[key] = term.detach() if before is None else before + term.detach()

    def d_step(self, run: Callable[[], Any], *, d: str | None = None) -> Any:
        """D's gradients are there: carry out its optimizer's step as the action asks, or leave it
        out. What `run` returns. Of several that share an optimizer, any stands for all."""
        optimizer = self.of(d).player.optimizer
        parts = {name: p for name, p in self.ds.items() if p.player.optimizer is optimizer}
        if self.leaves_out(*parts):
            return _leave_out(optimizer)
        trained = [part for part in parts.values() if part.asked.d_steps]
        for part in trained:
            # Of several, one that has no gradient takes no part in this step.
            if part.asked.r1_weight and (len(parts) == 1 or _has_gradient(part.player.network)):
                self._add_r1(part)
        scales = {
            p.player.network: p.asked.d_learning_rate_scale if p.asked.d_steps else None
            for p in parts.values()
        }
        names = [key_of(part.player.name) for part in trained]
        with self.game.sensors.update(optimizer, *names):
            if len(set(scales.values())) == 1:
                result = step_scaled(optimizer, trained[0].asked.d_learning_rate_scale, run)
            else:
                result = step_parted(optimizer, scales, run)
        for part in trained:
            part.updated = True
        return result

    def _add_r1(self, part: DiscriminatorTurn) -> None:
        with self.game.aside():
            added = part.player.r1.add(part)
        if isinstance(added, Tensor):
            if not part.updated:
                self._add_penalty(part, added)
            if part.player.r1.estimated:
                self.game.say(part.player.r1.estimated, level=logging.INFO)
        elif part.player.r1.problem:
            self.go_without_r1(part)
        else:
            self.game.say(added)

    def go_without_r1(self, part: DiscriminatorTurn) -> None:
        """R1 cannot be had: a person is told, and the action is one without it."""
        part.action = part.player.last_action = without_r1(part.asked)
        self.game.say(part.player.r1.problem)

    # G's part.

    def weigh(self, adversarial: Tensor, *, d: str | None = None) -> Tensor:
        """G's weighted adversarial term of a D, scaled as that D's policy asks."""
        check_scalar("G's adversarial term", adversarial)
        part = self.of(d)
        name, scale = part.player.name, part.asked.adversarial_weight_scale
        term = adversarial.detach().float() * scale
        self.adversarial[name] = self.adversarial[name] + term if name in self.adversarial else term
        return adversarial if scale == 1 else adversarial * scale

    def g_gradients(
        self, adversarial: Tensor | None, content: Tensor | None, *, d: str | None = None
    ) -> None:
        """Note the gradients at G's output (N, ...) of a D's weighed term and of all others, where
        the loop has them: policies that balance the terms read them."""
        name = self.game.name_of(d) if self.ds else None
        scale = 1.0 if name is None else self.ds[name].asked.adversarial_weight_scale
        self.game.sensors.read_output(name, adversarial, content, scale)

    def d_again(self, fake_outputs: Tensor, *, d: str | None = None) -> None:
        """What D says of G's images after its update, in G's part: outputs as for `judge`."""
        part = self.of(d)
        objective = part.player.known_objective()
        logits = image_means(objective.logits(fake_outputs.detach()))
        self.numbers[AFTER, part.player.name] = objective.probability(logits).mean()

    def g_begin(self) -> InputChange:
        """A further part of G begins, on another batch: what is done to the only D's inputs."""
        return self.game.input_change(self.of(None).asked)

    def g_step(self, run: Callable[[], Any]) -> Any:
        """G's gradients are there: carry out its optimizer's step as the actions ask, or leave it
        out. What `run` returns."""
        optimizer = self.game.g_optimizer
        if self.leaves_out():
            return _leave_out(optimizer)
        self.g_updated = True
        with self.game.sensors.update(optimizer, G):
            return step_scaled(optimizer, self.g_learning_rate_scale, run)

    # What all discriminators' actions come to.

    def leaves_out(self, *names: str) -> bool:
        """Whether the step of these Ds' optimizer (none: of G's) is left out."""
        steps = [self.ds[name].asked.d_steps for name in names] if names else [self.g_steps]
        return self.rolls_back or not any(steps)

    @property
    def rolls_back(self) -> bool:
        """Whether the turn ends in the kept state: where any D's policy asks for it."""
        return any(part.asked.roll_back for part in self.ds.values())

    @property
    def g_steps(self) -> int:
        """How many steps of G are asked for: the most that any D's policy asks for."""
        return max((part.asked.g_steps for part in self.ds.values()), default=1)

    @property
    def g_learning_rate_scale(self) -> float:
        """The most of what the discriminators' policies ask for: G is not slowed for one that it
        has fooled while another leads."""
        return max((part.asked.g_learning_rate_scale for part in self.ds.values()), default=1.0)

    @property
    def has_judged(self) -> bool:
        """Whether any D has."""
        return any(part.action is not None for part in self.ds.values())

    # The end.

    def end(self, loss: Tensor | None = None, *, terms: Mapping[str, Tensor] | None = None) -> None:
        """The turn is over. `loss` is what G minimised; or `terms`, by name, of which it is the
        sum. Its row is among `Game.records` as soon as its numbers are known.

        Raises `UserError` for a turn that is over, or in which no D has judged.
        """
        if self.step != self.game.steps_done + 1:
            raise UserError(f"turn {self.step} is over; begin the next with turn()")
        if self.ds and not self.has_judged:
            raise UserError("turn.end: no D has judged in this turn; say turn.judge(...) in it")
        if loss is not None:
            check_scalar("G's loss", loss)
        weighed = list(self.adversarial.values())
        scalars = {ADVERSARIAL: sum(weighed[1:], start=weighed[0])} if weighed else {}
        if terms is not None:
            scalars = dict(terms)
            for name, term in scalars.items():
                check_scalar(f"G's term '{name}'", term)
        for part in self.ds.values():
            part.outputs = part.real = None  # with the graphs behind them
            part.ask = ask_alone
        self.game.end(self, loss, scalars)


def check_tensors(what: str, *values: Any) -> None:
    """Raise `UserError` unless each is a tensor."""
    for value in values:
        if not isinstance(value, Tensor):
            raise UserError(
                f"{what} must be given as one tensor, not as {type(value).__name__}; several "
                "outputs: torch.cat([each.flatten(1) for each in outputs], 1)"
            )


def check_scalar(what: str, value: Any) -> None:
    """Raise `UserError` unless it is a tensor of one number."""
    check_tensors(what, value)
    if value.numel() != 1:
        raise UserError(f"{what} must be one number, not {value.numel()}; take its mean()")


def _has_gradient(network: nn.Module) -> bool:
    return any(weight.grad is not None for weight in network.parameters())


def _leave_out(optimizer: Any) -> None:
    # Learning-rate schedulers ask for this, to warn of a wrong order of calls.
    optimizer._opt_called = True
