"""A game of one generator and one or several discriminators: the engine of every training."""

import copy
import dataclasses
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from counterpoise.actuators.inputs import InputChange
from counterpoise.actuators.snapshot import Snapshot
from counterpoise.errors import UserError
from counterpoise.game.objective import GameObjective
from counterpoise.game.players import DiscriminatorTurn, Player, check_objective
from counterpoise.game.processes import Numbers, average_over_processes, distributed, rank
from counterpoise.game.sensing import G, Sensors, key_of
from counterpoise.game.turn import ADVERSARIAL, AFTER, ASKED, CONTENT, PENALTY, Key, Turn
from counterpoise.records import (
    NO_READINGS,
    Action,
    DiscriminatorRecord,
    Readings,
    Signals,
    StepRecord,
    unknown_signals,
)
from counterpoise.run_folder import ROLL_BACK
from counterpoise.sensors.discriminator import numbers_of
from counterpoise.sensors.images import ratio

# Tells a person: the step, the kind of event, the message, and how much it matters (a level of
# `logging`).
Tell = Callable[[int, str, str, int], None]


LOSS, TERM, JUDGED = ("loss", ""), "term", ("real", "fake")


class Game:
    """Plays turns: what the discriminators show goes to their policies, and what these ask for is
    done to the steps of the optimizers.

    `begin` gives the next turn, `Turn` says what is told to it, `records` gives the rows. The loop
    keeps its networks, its losses and its optimizers.

    snapshot: of all that a policy may go back to.
    """

    def __init__(
        self,
        generator: nn.Module,
        g_optimizer: torch.optim.Optimizer,
        players: Sequence[Player],
        sensors: Sensors,
        snapshot: Snapshot,
        tell: Tell,
        *,
        seed: int = 0,
        stage: str = "train",
    ) -> None:
        self.g_optimizer, self.sensors, self.snapshot = g_optimizer, sensors, snapshot
        self.players = {player.name: player for player in players}
        self.tell, self.seed, self.stage = tell, seed, stage
        self.device = next(generator.parameters()).device
        # Whether nothing waits for numbers that no policy needs in the turn itself; a policy that
        # says `needs = "last turn"` sees those of the turn before then. Several processes wait, so
        # that they meet at the same place.
        self.deferred = self.device.type == "cuda" and not distributed()
        self.steps_done = 0
        # Batches that D's inputs were changed for: each has random numbers of its own.
        self.batches = 0
        # A context in which a network may be asked without being listened to.
        self.aside: Callable[[], AbstractContextManager[None]] = nullcontext
        # What is called when a turn has ended.
        self.after_turn: Callable[[], None] = lambda: None
        self._said: set[str] = set()
        # Turns that are over, their learning rates, and their numbers on the way to the host.
        self._waiting: deque[tuple[Turn, dict[str, float], Numbers]] = deque()
        self._records: list[StepRecord] = []
        self._settled_at = 0.0

    def begin(self) -> Turn:
        if not self._waiting:
            self._settled_at = time.perf_counter()
        return Turn(self, self.steps_done + 1)

    def input_change(self, action: Action) -> InputChange:
        """What an action does to D's inputs on the next batch."""
        self.batches += 1
        noise, augment = action.noise_std, action.augment_probability
        return InputChange(noise, augment, self.sensors.paired, self.seed, self.batches, rank())

    def name_of(self, d: str | None) -> str:
        """The name of a discriminator; None is the only one."""
        names = list(self.players)
        if d is None and len(names) == 1:
            return names[0]
        if d not in self.players:
            raise UserError(f"say which discriminator it is: d= one of {', '.join(names)}")
        return d

    @property
    def d_optimizers(self) -> list[torch.optim.Optimizer]:
        """The discriminators' optimizers, one that several share once."""
        return list(dict.fromkeys(player.optimizer for player in self.players.values()))

    def say(self, message: str, key: str = "", level: int = logging.WARNING) -> None:
        """Tell a person something, once."""
        if (key or message) not in self._said:
            self._said.add(key or message)
            self.tell(self.steps_done, "note", message, level)

    # What the policies see.

    def seen(self, turn: Turn, part: DiscriminatorTurn) -> Signals:
        """What a policy is asked with in a turn, where D has judged."""
        player = part.player
        needs = getattr(player.policy, "needs", "this turn")
        if self.deferred and needs == "nothing":
            return unknown_signals(turn.step)
        if self.deferred and needs == "last turn":
            self._settle(wait=True)
            last = player.signals or unknown_signals(turn.step)
            return dataclasses.replace(last, step=turn.step, readings=player.readings)
        assert part.judged is not None, "D has judged"
        judged = [logits.cpu() for logits in part.judged]
        statistics = player.known_objective().statistics(*judged)
        # In one message, from where the networks are.
        if distributed():
            statistics = average_over_processes(statistics.to(self.device))
        return self._signals(turn, part, statistics)

    def _signals(self, turn: Turn, part: DiscriminatorTurn, statistics: Tensor) -> Signals:
        """The signals of a turn, from statistics of all processes."""
        player, objective = part.player, part.player.known_objective()
        numbers, saturation = numbers_of(statistics)
        part.signals = Signals(
            turn.step,
            **numbers,
            d_equilibrium_loss=objective.form.objective.equilibrium_d_loss,
            d_takes_r1=not player.r1.problem,
            discriminators=len(self.players),
            readings=player.readings,
        )
        if objective.has_sigmoid:
            part.saturation = saturation
        return part.signals

    # The end of a turn.

    def end(self, turn: Turn, loss: Tensor | None, terms: Mapping[str, Tensor]) -> None:
        """A turn is over, perhaps one in which no D was trained: its row then has what G minimised
        alone. `Turn.end` is for a loop to call."""
        self.steps_done = turn.step
        rates = {G: _rate(self.g_optimizer) * turn.g_learning_rate_scale}
        turn.numbers |= {(TERM, name): term for name, term in terms.items()}
        if loss is not None:
            turn.numbers[LOSS] = loss
        for name, part in turn.ds.items():
            rates[key_of(name)] = _rate(part.player.optimizer) * part.asked.d_learning_rate_scale
            if part.signals is None and part.judged is not None:
                # What statistics are made of on the host.
                turn.numbers |= zip([(what, name) for what in JUDGED], part.judged, strict=True)
        turn.numbers |= self.sensors.end(g_updated=turn.g_updated)
        self._waiting.append((turn, rates, Numbers(turn.numbers, self.device)))
        if turn.rolls_back:
            self._roll_back(turn)
        if not self.deferred:
            self._settle(wait=True)
        self.after_turn()

    def _roll_back(self, turn: Turn) -> None:
        self.snapshot.restore()
        reasons = {part.asked.reason for part in turn.ds.values() if part.asked.roll_back}
        reason = "; ".join(sorted(reasons - {""})) or ASKED
        before = self.snapshot.taken_step
        text = f"step {turn.step}: back to the state before step {before}: {reason}"
        self.tell(turn.step, ROLL_BACK, text, logging.WARNING)

    def records(self, *, wait: bool = True) -> list[StepRecord]:
        """The rows of the turns that ended and have none yet, oldest first: all of them, or,
        without `wait`, those whose numbers are here."""
        self._settle(wait=wait)
        records, self._records = self._records, []
        return records

    def _settle(self, *, wait: bool) -> None:
        """Make rows of the turns whose numbers are on the host."""
        ready = []
        while self._waiting and (wait or self._waiting[0][2].is_here()):
            ready.append(self._waiting.popleft())
        if not ready:
            return
        now = time.perf_counter()
        # Of several at once none has a time of its own.
        seconds = (now - self._settled_at) / len(ready)
        self._settled_at = now
        for turn, learning_rates, numbers in ready:
            tensors = dict(numbers.get())
            self._records.append(self._record(turn, learning_rates, tensors, seconds))

    def _record(
        self,
        turn: Turn,
        learning_rates: Mapping[str, float],
        tensors: dict[Key, Tensor],
        seconds: float,
    ) -> StepRecord:
        for name, part in turn.ds.items():
            # Of a D that has no signals yet.
            judged = [tensors.pop(k) for what in JUDGED if (k := (what, name)) in tensors]
            if judged:
                self._signals(turn, part, part.player.known_objective().statistics(*judged))
        values = _scalars(tensors)
        terms = {name: value for (what, name), value in values.items() if what == TERM}
        g_loss = values.get(LOSS, sum(terms.values()))
        if LOSS in values and ADVERSARIAL in terms:
            terms[CONTENT] = g_loss - terms[ADVERSARIAL]
        of_g = _readings(values, G)
        records = {}
        for name, part in turn.ds.items():
            player, key = part.player, key_of(name)
            if part.signals is None:
                continue  # this D had no part in the turn
            own = part.saturation.updated(_readings(values, key))
            player.readings = player.readings.updated(of_g).updated(own)
            player.signals = part.signals
            records[name] = DiscriminatorRecord(
                part.signals,
                learning_rates[key],
                part.updated,
                values.get((AFTER, name)),
                values.get((PENALTY, name), 0.0),
                part.asked,
                own,
            )
        return StepRecord(
            turn.step,
            self.stage,
            g_loss,
            terms,
            turn.g_updated,
            learning_rates[G],
            seconds,
            of_g,
            records,
        )

    # State.

    def state_dict(self) -> dict[str, Any]:
        """What goes on with a resumed loop, as plain JSON values."""
        self._settle(wait=True)
        states = {
            name: player.memory()
            | {
                "policy": player.policy.state_dict(),
                "objective": player.objective and dataclasses.asdict(player.objective),
            }
            for name, player in self.players.items()
        }
        state: dict[str, Any] = {
            "step": self.steps_done,
            "batches": self.batches,
            "has_snapshot": self.snapshot.taken_step is not None,
        }
        # With one D as in all versions.
        return state | (states[""] if set(states) == {""} else {"discriminators": states})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state_dict`. What is no such state changes nothing: `KeyError`, `TypeError`,
        `ValueError`, `AttributeError` or `UserError`, with what is wrong."""
        states = state.get("discriminators", {"": state})
        if states.keys() != self.players.keys():
            raise UserError(f"it is of the discriminators {', '.join(states)}")
        step, batches = int(state["step"]), int(state.get("batches", state["step"]))
        has_snapshot = state["has_snapshot"]
        loaded = []
        for name, player in self.players.items():
            own, policy = states[name], copy.deepcopy(player.policy)
            policy.load_state_dict(own["policy"])
            objective = own["objective"] and GameObjective(**own["objective"])
            if objective:
                check_objective(policy, objective)
            known = Player.recalled(own) | {"policy": policy}
            loaded.append((player, known | ({"objective": objective} if objective else {})))
        for player, known in loaded:
            vars(player).update(known)
        self.steps_done, self.batches = step, batches
        if has_snapshot:
            self.snapshot.take(self.steps_done + 1)
            text = f"step {self.steps_done}: the state to go back to is the one resumed from"
            self.tell(self.steps_done, "note", text, logging.INFO)


def _scalars(tensors: Mapping[Key, Tensor]) -> dict[Key, float]:
    """The numbers, those that there are; a pair is a ratio."""
    values = {}
    for name, tensor in tensors.items():
        numbers = tensor.flatten().tolist() if tensor.ndim else [tensor.item()]
        value = numbers[0] if len(numbers) == 1 else ratio(*numbers)
        if value is not None:
            values[name] = value
    return values


def _readings(values: Mapping[Key, float], network: str) -> Readings:
    """What was read of a network."""
    read = {name: value for (of, name), value in values.items() if of == network}
    return Readings(**read) if read else NO_READINGS


def _rate(optimizer: torch.optim.Optimizer) -> float:
    return float(optimizer.param_groups[0]["lr"])
