"""`Balance`: sensors, a policy, a diagnosis and a run folder for anybody's PyTorch loop."""

import weakref
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from counterpoise.anyloop.engine import Engine
from counterpoise.anyloop.hooks import innermost
from counterpoise.anyloop.journal import Journal
from counterpoise.anyloop.loop_bugs import LoopFinding
from counterpoise.anyloop.loop_check import LoopChecker
from counterpoise.anyloop.measure import Measurements
from counterpoise.anyloop.objective import LoopObjective
from counterpoise.anyloop.steps import DiscriminatorStep, GeneratorStep
from counterpoise.anyloop.user_code import user_line
from counterpoise.balance.policies import build_policy, take_up
from counterpoise.balance.saved import NotThisStateError, check_fields, entry, is_count
from counterpoise.diagnosis.finding import Diagnosis
from counterpoise.errors import UserError
from counterpoise.records import Action, Readings


class Balance:
    """Watches a hand-written GAN loop and keeps its two networks in balance.

    Mark where D's part and G's part begin; that is all a loop must change:

        balance = cp.Balance(generator, discriminator, g_optimizer, d_optimizer)
        for real in batches:
            balance.d_step()
            ...  # zero_grad, forward, backward, d_optimizer.step(), as before
            balance.g_step()
            ...  # the same for G

    or write each part as a block, `with balance.d_step() as step:`. A turn is D's part (or several)
    and the G's part after it; it becomes one row of `signals.jsonl`.

    What happens in a turn: D's outputs on real and fake images are read where D is called in its
    part (or given by `step.logits`), and the objective is read from D's loss, where `objective`
    does not name it. When D's optimizer is about to step, the policy sees the signals and decides:
    the step is left out, or done with a scaled learning rate, and the user's learning rates are
    put back after it. Its adversarial weight scales the gradient that comes back through D to G.
    Noise and augmentation change D's inputs, in real and fake images alike. With policy `none` the
    training is, to the bit, what it is without all this.

    generator, discriminator: the objects that the loop calls (so the wrapped ones, under DDP).
    policy, policy_options: a name from `balance.policies.POLICIES` and its options.
    objective: a name from `diagnosis.objectives` or a common one ("bce", "mse"); None reads it from
        D's first loss.
    run_dir: a folder for config.yaml, signals.jsonl, events.jsonl and train.log, which
        `counterpoise diagnose` reads; None writes nothing.
    log_every: turns between log lines (`logging`, logger "counterpoise").
    sensors_every: turns between readings of the sensors that cost something; those for which D is
        asked about other images are read ten times more rarely.
    held_out: real images that D is not trained on, for readings of D's memorising.
    paired: whether a fake image is made from the real one beside it, as in super-resolution.
    grad_scaler: AMP's, where losses are scaled by one, to undo the scale in what is recorded.
    check: find bugs of the loop while it runs, see `check_loop`.
    seed: of the noise and augmentation that a policy may ask for.

    Raises `UserError` where D's part shows no outputs on real and fake images, unless earlier turns
    did, or an objective cannot be read. Under `torch.distributed` signals are averaged over the
    processes, so all decide alike; the first one writes.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        g_optimizer: torch.optim.Optimizer,
        d_optimizer: torch.optim.Optimizer,
        *,
        policy: str = "auto",
        policy_options: dict[str, Any] | None = None,
        objective: str | None = None,
        run_dir: str | Path | None = None,
        log_every: int = 100,
        sensors_every: int = 10,
        held_out: Tensor | None = None,
        paired: bool = False,
        grad_scaler: torch.amp.GradScaler | None = None,
        check: bool = False,
        seed: int = 0,
    ) -> None:
        if log_every < 1 or sensors_every < 1:
            raise UserError("Balance: log_every and sensors_every must be at least 1")
        self._made_at = user_line()
        options = dict(policy_options or {})
        self._policy, self._options = policy, options
        self._journal = Journal(run_dir, policy, options, log_every)
        self._engine = Engine(
            generator,
            discriminator,
            innermost(g_optimizer),
            innermost(d_optimizer),
            policy=build_policy(policy, options),
            objective=objective,
            journal=self._journal,
            measurements=Measurements(
                generator, discriminator, sensors_every, held_out, paired, grad_scaler
            ),
            grad_scaler=grad_scaler,
            seed=seed,
        )
        self.loop_findings: list[LoopFinding] = []
        if check:
            self.check_loop()
        # A script that ends without `close()`, or lets go of this object, loses nothing.
        weakref.finalize(self, self._engine.close)

    def d_step(self) -> DiscriminatorStep:
        """D's part begins here."""
        return self._engine.begin_d()

    def g_step(self) -> GeneratorStep:
        """G's part begins here."""
        return self._engine.begin_g()

    def end_step(self) -> None:
        """The open part of the loop, if there is one, ends here: before an evaluation, say."""
        self._engine.end_open()

    @property
    def step(self) -> int:
        """Turns that are done."""
        return self._engine.steps_done

    @property
    def action(self) -> Action:
        """What the policy asked for last. A loop that can train D (or G) several times in a turn on
        fresh batches finds in `action.d_steps` how often it should."""
        return self._engine.last_action

    @property
    def readings(self) -> Readings:
        """The latest readings of the sensors."""
        return self._engine.readings

    def diagnosis(self) -> Diagnosis:
        """What is wrong or right with the run so far."""
        return self._journal.diagnosis()

    def check_loop(self) -> list[LoopFinding]:
        """Begin to look for bugs of the loop; returns the list that they are added to."""
        if self._engine.checker is None:
            self._engine.watch_with(
                LoopChecker(
                    self._engine.networks,
                    self._engine.optimizers,
                    self._journal.loop_bug,
                    self._made_at,
                    self.loop_findings,
                )
            )
        return self.loop_findings

    def state_dict(self) -> dict[str, Any]:
        """What goes on with a resumed loop, as plain JSON values: save it with the networks."""
        return self._engine.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`, after the networks and optimizers were loaded and before the
        first step. Rows of the run folder past its step are dropped.

        Raises `UserError`, and changes nothing, for something else than such a state, and for that
        of another policy.
        """
        self._check(state)
        self._engine.load_state_dict(state)

    def _check(self, state: Any) -> None:
        """Raise `UserError` unless a state can be loaded."""
        todo = "give what this Balance's own state_dict() returned, with the policy it had then"
        try:
            if not is_count(entry(state, "step")):
                raise NotThisStateError("'step' must be a whole number that is not negative")
            check_fields(Action, entry(state, "action"), "action")
            check_fields(Readings, entry(state, "readings"), "readings")
            if (objective := entry(state, "objective")) is not None:
                entry(objective, "name"), entry(objective, "probabilities")
                check_fields(LoopObjective, objective, "objective")
            entry(state, "has_snapshot")
            take_up(build_policy(self._policy, self._options), self._policy, entry(state, "policy"))
        except (NotThisStateError, UserError) as error:
            raise UserError(f"Balance.load_state_dict: {error}; {todo}") from error

    def close(self) -> None:
        """End the open step, write what is left and let go of the networks and optimizers."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._engine.end_open(failed=True)
        self.close()


def check_loop(balance: Balance) -> list[LoopFinding]:
    """Look for bugs of a hand-written loop while it runs, for its first hundred turns.

    Returns the list that findings are added to (it is `balance.loop_findings`); each is also logged
    as a warning and recorded as an event, once, with the line of the user's code. The bugs are
    those of `anyloop.loop_bugs.LOOP_BUGS`.
    """
    return balance.check_loop()
