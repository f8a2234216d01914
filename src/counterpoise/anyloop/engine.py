"""What happens in a turn of a hand-written loop, from D's part to G's."""

import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from counterpoise.actuators.inputs import InputChange
from counterpoise.actuators.r1 import without_r1
from counterpoise.actuators.snapshot import Snapshot
from counterpoise.anyloop.direction import REVERSED
from counterpoise.anyloop.hooks import BACKWARD, OptimizerWatch, minimised, scaled_learning_rate
from counterpoise.anyloop.journal import Journal
from counterpoise.anyloop.judge import GIVEN_UP, UNKNOWN_YET, Judge
from counterpoise.anyloop.loop_check import LoopChecker
from counterpoise.anyloop.measure import Measurements
from counterpoise.anyloop.penalty import IN_CLOSURE, R1, STEPPED_EARLY
from counterpoise.anyloop.processes import mean_of_each, rank
from counterpoise.anyloop.roll_back import roll_back
from counterpoise.anyloop.steps import DiscriminatorStep, GeneratorStep, Step
from counterpoise.anyloop.tap import FAKE, OTHER, REAL, Phase, Tap
from counterpoise.anyloop.turn import Turn
from counterpoise.anyloop.unmet import needs_steps, unmet
from counterpoise.anyloop.way_back import WayBack
from counterpoise.balance.policy import Policy
from counterpoise.errors import UserError
from counterpoise.records import NO_ACTION, Action, Readings
from counterpoise.run_folder import ROLL_BACK


class Engine:
    """Runs turns for `handle.Balance`, which documents what it does."""

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        g_optimizer: torch.optim.Optimizer,
        d_optimizer: torch.optim.Optimizer,
        *,
        policy: Policy,
        objective: str | None,
        journal: Journal,
        measurements: Measurements,
        grad_scaler: torch.amp.GradScaler | None,
        seed: int,
    ) -> None:
        self.networks = {"g": generator, "d": discriminator}
        self.optimizers = {"g": g_optimizer, "d": d_optimizer}
        self.checker: LoopChecker | None = None
        self.steps_done = 0
        self.last_action = NO_ACTION
        self.readings = Readings()
        self._journal, self._measure = journal, measurements
        self._grad_scaler, self._seed = grad_scaler, seed
        self._judge = Judge(policy, objective, journal.set_objective)
        self._r1 = R1(discriminator, d_optimizer)
        self._snapshot = Snapshot(dict(self.networks), dict(self.optimizers))
        self._open: Step | None = None
        self._g_parts = 1  # since the last turn's D part
        self._turn: Turn | None = None
        self._phases: list[Phase] = []
        self._halves_chosen = False
        self._said: set[str] = set()
        self._closed = False
        self._way_back = WayBack(measurements)
        self._tap = Tap(
            generator,
            discriminator,
            self._change_input,
            self._measure.watch_output,
            self._way_back.after_d,
        )
        self._watches = [
            OptimizerWatch(g_optimizer, lambda run: self._on_optimizer("g", run)),
            OptimizerWatch(d_optimizer, lambda run: self._on_optimizer("d", run)),
        ]

    # Where parts and turns begin and end.

    def begin_d(self) -> DiscriminatorStep:
        """D's part begins; a turn with it, unless one is under way."""
        self.end_open()
        if self._turn is None:
            if (asked := self.last_action.g_steps) > self._g_parts:
                self._say("g_steps", needs_steps("G", "g_steps", asked))
            self._journal.begin(self.steps_done, writes=rank() == 0)
            step_number = self.steps_done + 1
            # What is done to D's inputs follows the action of the turn before.
            self._turn = Turn(
                step_number,
                InputChange(
                    self.last_action.noise_std,
                    self.last_action.augment_probability,
                    self._measure.paired,
                    self._seed,
                    step_number,
                    rank(),
                ),
                d_steps_before=self.last_action.d_steps,
                d_takes_r1=self._r1.is_possible,
            )
            self._measure.begin(self._turn.step)
        self._turn.d_parts += 1
        self._halves_chosen = False
        step = DiscriminatorStep(self)
        self._listen(step)
        return step

    def begin_g(self) -> GeneratorStep:
        """G's part begins."""
        self.end_open()
        step = GeneratorStep(self)
        self._listen(step)
        return step

    def end_open(self, *, failed: bool = False) -> None:
        """The open part ends."""
        if self._open is not None:
            self.end(self._open, failed=failed)

    def end(self, step: Step, *, failed: bool = False) -> None:
        """A part ends, unless it has already; where it `failed`, its turn is forgotten."""
        if step is not self._open:
            return
        phase = step.phase
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
        self._closed = True
        self._tap.close()
        for watch in self._watches:
            watch.close()
        self._journal.close()

    def watch_with(self, checker: LoopChecker) -> None:
        """Look for bugs of the loop."""
        self.checker = checker
        self._tap.with_lines = True

    def _listen(self, step: Step) -> None:
        if self._closed:
            raise UserError("Balance: it is closed; make a new one")
        self._open, self._tap.phase = step, step.phase
        self._measure.in_g_part = step.phase.network == "g"
        if self.checker is not None and self._tap.latest is not None:
            step.phase.generated.append(self._tap.latest)
        # The last of each: a loop may train D alone for long before G's first part.
        self._phases = [each for each in self._phases if each.network != step.phase.network]
        self._phases.append(step.phase)
        BACKWARD.add(self._on_backward)
        if self.checker is not None:
            self.checker.begin(self.steps_done + 1)

    def _stop_listening(self, phase: Phase, *, failed: bool) -> None:
        self._open = self._tap.phase = None
        self._measure.in_g_part = False
        BACKWARD.remove(self._on_backward)
        if self.checker is not None:
            self.checker.end(phase, failed=failed)

    # D's part.

    def combine(self, step: Step, real: Tensor, fake: Tensor) -> Tensor:
        """D's loss as the action wants it."""
        turn = self._turn
        assert turn is not None, "D's part begins a turn"
        loss = self._judge.d_loss(turn, step.phase, real, fake, self.readings)
        self._halves_chosen = True
        self._decide(step.phase)
        return loss

    def _decide(self, phase: Phase) -> Action:
        """The action for this turn, and what it asks for at once."""
        turn = self._turn
        assert turn is not None, "D's part begins a turn"
        action = self._judge.decide(turn, phase, self.readings)
        if action.r1_weight and self._r1.problem:
            action = turn.action = without_r1(action)
        if not turn.begun:
            turn.begun, self.last_action = True, action
            self._measure.add(turn.saturation)
            if action.keep_snapshot:
                self._snapshot.take(turn.step)
        return action

    def _end_d(self, phase: Phase) -> None:
        turn = self._turn
        assert turn is not None, "D's part begins a turn"
        if self._judge.objective is None and not phase.backwards:
            # Nothing was back-propagated yet, so the loop has not shown what it trains on.
            self._say("objective", UNKNOWN_YET)
            return
        if turn.action is None and self.steps_done and not self._judge.is_ready(phase):
            # Turns work in this loop: it has given this one up, over a bad batch or an exception.
            self._turn = None
            self._say("given up", GIVEN_UP, logging.INFO)
            return
        action = self._decide(phase)
        if turn.d_stepped_early and action.r1_weight:
            self._r1.problem = STEPPED_EARLY
            self._go_without_r1(turn)
        if turn.signals is not None and self._judge.direction.turn_shows(turn.signals):
            self._say("reversed", REVERSED)
        if turn.d_parts == 1 and self._judge.objective is not None:
            self._measure.after_d(turn, self._judge.objective, self.optimizers["d"])

    # G's part.

    def weigh(self, loss: Tensor) -> Tensor:
        """G's adversarial term as the action weighs it."""
        turn = self._turn
        if turn is None:
            return loss
        scale = turn.decided.adversarial_weight_scale
        turn.g_adversarial.append(loss.detach().float() * scale)
        return loss if scale == 1 else loss * scale

    def _change_input(self, images: Tensor, phase: Phase, kind: str) -> Tensor:
        """D's input as the policy wants it, before D sees it."""
        turn = self._turn
        if turn is None:
            return images
        if phase.network == "g":
            images = self._way_back.before_d(images, turn)
        if kind == OTHER:
            return images
        return turn.change.real(images) if kind == REAL else turn.change.fake(images)

    def _end_g(self, phase: Phase) -> None:
        turn = self._turn
        phases, self._phases = self._phases, []
        if turn is None or turn.signals is None:
            # G's part before the first of D's, or further ones after a turn.
            self._turn, self._g_parts = None, self._g_parts + 1
            return
        turn.g_backwards = phase.backwards
        turn.d_fake_after = self._judge.d_fake(phase)
        if not turn.g_losses:
            calls = (phase.call(REAL), phase.call(FAKE))
            turn.g_loss_of_form = self._judge.g_loss(*calls)
            if turn.g_loss_of_form is None:
                turn.g_loss_of_form = self._judge.g_loss(turn.real, turn.fake)
        self._finish(turn)
        if self.checker is not None:
            self.checker.turn_ends(phases)
            if self.checker.finished:
                self.checker, self._tap.with_lines = None, False

    def _finish(self, turn: Turn) -> None:
        """Record a turn, and put the kept state back where that was asked for."""
        action, self._turn, self._g_parts = turn.decided, None, 1
        assert turn.real is not None, "D has judged"
        assert turn.real.outputs is not None, "D has judged"
        device = turn.real.outputs.device
        turn.readings = self._measure.end(device)
        self.readings = self.readings.updated(turn.readings)
        values = mean_of_each(turn.scalars(), device)
        g_rate, d_rate = (float(o.param_groups[0]["lr"]) for o in self.optimizers.values())
        turn.g_learning_rate = g_rate * action.g_learning_rate_scale
        turn.d_learning_rate = d_rate * action.d_learning_rate_scale
        self.steps_done = turn.step
        if action.roll_back:
            done = roll_back(self._snapshot, self.optimizers.values())
            text = f"step {turn.step}: {done} ({action.reason})"
            self._journal.event(turn.step, ROLL_BACK, text, logging.WARNING)
        for key, message, level in unmet(
            turn,
            action,
            halves_chosen=self._halves_chosen,
            smoothing_helps=self._judge.smoothing_helps,
        ):
            self._say(key, message, level)
        self._journal.step(turn.record(values))

    # What is listened to.

    def _on_backward(
        self, tensors: Any, grad_tensors: Any = None, *_: Any, inputs: Any = None, **__: Any
    ) -> None:
        step = self._open
        if step is None or BACKWARD.running:
            return  # the latter inside of another, as a reentrant checkpoint's
        step.phase.backwards += 1
        roots = [tensors] if isinstance(tensors, Tensor) else list(tensors)
        if step.phase.network == "d":
            self._judge.read_objective(step.phase, roots)
        elif self._turn is not None:
            scale = 1.0 if self._grad_scaler is None else self._grad_scaler.get_scale()
            self._turn.g_losses += [loss / scale for loss in minimised(roots, grad_tensors)]
        if self.checker is not None:
            self.checker.backward(step.phase, roots, inputs)

    def _on_optimizer(self, network: str, run: Callable[[], Any]) -> Any:
        """An optimizer's step was called: run it as the action says."""
        step, turn = self._open, self._turn
        if step is None:
            return run()
        if self.checker is not None:
            self.checker.optimizer_steps(network, step.phase, halves_chosen=self._halves_chosen)
        if turn is None:
            return run()
        if network == "d" and step.phase.network == "d":
            undecided = turn.action is None
            if undecided and (turn.d_stepped_early or not self._judge.is_ready(step.phase)):
                # D judges in a closure, or each half has a step of its own, and both or neither
                # are done: what this turn shows is decided on when D's part is over.
                turn.d_stepped_early = turn.d_updated = True
                return run()
            self._decide(step.phase)
        action = turn.decided
        count, scale = turn.asked_of(network)
        optimizer = self.optimizers[network]
        if action.roll_back or not count:
            if self.checker is not None:
                self.checker.held_by_policy(network)
            # Learning-rate schedulers ask for this, to warn of a wrong order of calls.
            optimizer._opt_called = True  # type: ignore[attr-defined]
            return None
        if network == "d" and action.r1_weight:
            self._add_r1(step.phase, turn)
        backwards = step.phase.backwards
        if scale == 1 and not self._measure.reads_update(network):
            result = run()
        else:
            with scaled_learning_rate(optimizer, scale), self._measure.update(network):
                result = run()
        if network == "d" and step.phase.backwards > backwards and turn.d_penalty is not None:
            # A closure: what was added to the gradients before it is gone.
            self._r1.problem, turn.d_penalty = IN_CLOSURE, None
            self._go_without_r1(turn)
        if network == "d":
            turn.d_updated = True
        else:
            turn.g_updated = True
        return result

    def _add_r1(self, phase: Phase, turn: Turn) -> None:
        """Add R1's gradient to D's."""
        assert self._judge.objective is not None, "it was decided under one"
        with self._tap.muted():
            message = self._r1.add(phase, turn, self._judge.objective)
        if self._r1.problem:
            self._go_without_r1(turn)
        elif message:
            self._say(message, message)

    def _go_without_r1(self, turn: Turn) -> None:
        turn.action = self.last_action = without_r1(turn.decided)
        self._say("r1", self._r1.problem)

    # State.

    def state_dict(self) -> dict[str, Any]:
        """As `Balance.state_dict`."""
        self.end_open()
        objective = self._judge.objective
        return {
            "step": self.steps_done,
            "policy": self._judge.policy.state_dict(),
            "action": asdict(self.last_action),
            "readings": asdict(self.readings),
            "objective": objective and asdict(objective),
            "has_snapshot": self._snapshot.taken_step is not None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As `Balance.load_state_dict`."""
        self.steps_done = state["step"]
        self._judge.policy.load_state_dict(state["policy"])
        self.last_action = Action(**state["action"])
        self.readings = Readings(**state["readings"])
        self._judge.restore(state["objective"])
        if state["has_snapshot"]:
            self._snapshot.take(self.steps_done)
            text = f"step {self.steps_done}: the state to go back to is the one resumed from"
            self._journal.event(self.steps_done, "note", text)

    def _say(self, key: str, message: str, level: int = logging.WARNING) -> None:
        """Record and log a note once."""
        if key not in self._said:
            self._said.add(key)
            self._journal.event(self.steps_done, "note", message, level)
