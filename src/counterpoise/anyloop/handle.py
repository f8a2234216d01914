"""`Balance`: sensors, a policy, a diagnosis and a run folder for any PyTorch loop."""

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from counterpoise.actuators.snapshot import Snapshot
from counterpoise.anyloop.hooks import innermost, user_line
from counterpoise.anyloop.journal import Journal
from counterpoise.anyloop.listener import LoopListener, refuse_shared
from counterpoise.anyloop.loop_check import LoopChecker
from counterpoise.anyloop.parts import DiscriminatorPart, GeneratorPart
from counterpoise.balance.policies import build_policy
from counterpoise.diagnosis.finding import Diagnosis
from counterpoise.diagnosis.loop_bugs import LoopFinding, with_loop_bugs
from counterpoise.errors import UserError
from counterpoise.game.game import Game
from counterpoise.game.players import Player
from counterpoise.game.sensing import Sensors
from counterpoise.game.turn import Turn
from counterpoise.records import NO_ACTION, Action, Readings

# Readings for which D is asked about other images are taken this much more rarely.
PROBES_EVERY = 10
# What becomes of a table that is no state of a game.
NOT_A_STATE = (KeyError, TypeError, ValueError, AttributeError, UserError)


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
    and G's, to the step of G's optimizer; it becomes one row of `signals.jsonl`. A loop that cannot
    be read so says itself what it does: `turn = balance.turn()`, and then the calls of
    `game.turn.Turn`.

    D's outputs on real and fake images are read from D's loss in its part (or given by
    `step.logits`). When D's optimizer is about to step, the policy decides: the step is left out,
    or done with a scaled learning rate, and the user's rates are put back after it. Its adversarial
    weight scales the gradient that comes back through D to G. Noise and augmentation change D's
    inputs, in real and fake images alike. With policy `none` the training is, to the bit, what it
    is without all this.

    generator, discriminator: the objects that the loop calls (so the wrapped ones, under DDP).
        Several generators behind one optimizer are a list; several discriminators are a list, or a
        dictionary by name, each with a policy, signals and a verdict of its own.
    d_optimizer: of all discriminators, or one for each, given as these are.
    policy, policy_options: a name from `balance.policies.POLICIES` and its options.
    objective: a name from `objectives.OBJECTIVES` or a common one ("bce", "mse"); None reads it
        from D's first loss.
    run_dir: a folder for config.yaml, signals.jsonl, events.jsonl and train.log, which
        `counterpoise diagnose` reads; None writes nothing.
    log_every: turns between log lines (`logging`, logger "counterpoise").
    sensors_every: turns between readings of the sensors that cost something; those for which D is
        asked about other images are read ten times more rarely.
    held_out: real images that D is not trained on, for readings of D's memorising.
    paired: whether a fake image is made from the real one beside it, as in super-resolution.
    grad_scaler: AMP's, where losses are scaled by one, to undo the scale in what is recorded.
    check: find the bugs of `diagnosis.loop_bugs.LOOP_BUGS` in the first hundred turns. Each is told
        once, with the line of the user's code, and added to `loop_findings`.
    seed: of the noise and augmentation that a policy may ask for.

    Raises `UserError` where it cannot be read what D says of real and fake images, or which
    objective D has, and the policy acts; with `none` the run has no signals, and that is said once.
    Under `torch.distributed` signals are averaged over the processes, so all decide alike; the
    first one writes.
    """

    def __init__(
        self,
        generator: nn.Module | Sequence[nn.Module],
        discriminator: nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module],
        g_optimizer: Optimizer,
        d_optimizer: Optimizer | Sequence[Optimizer] | Mapping[str, Optimizer],
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
        options = dict(policy_options or {})
        generators = [generator] if isinstance(generator, nn.Module) else list(generator)
        ds = _discriminators(discriminator)
        g_optimizer, d_optimizers = innermost(g_optimizer), _optimizers(ds, d_optimizer)
        # One network whose weights are those of all.
        g = generators[0] if len(generators) == 1 else nn.ModuleList(generators)

        self._journal = Journal(run_dir, policy, options, log_every)
        self._game = Game(
            g,
            g_optimizer,
            [
                Player(name, d, d_optimizers[name], build_policy(policy, options), objective)
                for name, d in ds.items()
            ],
            Sensors(
                g,
                ds,
                every=sensors_every,
                probes_every=sensors_every * PROBES_EVERY,
                held_out=held_out,
                paired=paired,
                grad_scaler=grad_scaler,
            ),
            Snapshot(
                {"g": g, **{f"d{name}": d for name, d in ds.items()}},
                # One of several Ds once.
                {"g": g_optimizer}
                | {f"d{n}": each for n, each in enumerate(dict.fromkeys(d_optimizers.values()))},
            ),
            self._journal.event,
            seed=seed,
        )
        refuse_shared(self._game)
        checker = LoopChecker(g, self._game, user_line()) if check else None
        self.loop_findings: list[LoopFinding] = [] if checker is None else checker.findings
        self._listener = LoopListener(generators, self._game, self._journal, checker)
        # A script that ends without `close()`, or lets go of this object, loses nothing.
        weakref.finalize(self, self._listener.close)

    def d_step(self) -> DiscriminatorPart:
        """D's part begins here."""
        return self._listener.begin_d()

    def g_step(self) -> GeneratorPart:
        """G's part begins here."""
        return self._listener.begin_g()

    def turn(self) -> Turn:
        """The next turn, of a loop that says itself what it does; instead of `d_step` and
        `g_step`. It is over with `Turn.end`."""
        return self._listener.begin_turn()

    def end_step(self) -> None:
        """The open part of the loop, if there is one, ends here: before an evaluation, say."""
        self._listener.end_open()

    @property
    def step(self) -> int:
        """Turns that are done."""
        return self._game.steps_done

    @property
    def action(self) -> Action:
        """What the policy asked for last: how often D (or G) should be trained in a turn, on fresh
        batches, is `action.d_steps` (`g_steps`), of several discriminators the most that any asks
        for; what else each asks for is in `actions`."""
        actions = list(self.actions.values())
        most = {name: max(getattr(a, name) for a in actions) for name in ("d_steps", "g_steps")}
        return replace(actions[0] if len(actions) == 1 else NO_ACTION, **most)

    @property
    def actions(self) -> dict[str, Action]:
        """What the policy of each discriminator asked for last, by name."""
        return {name: player.last_action for name, player in self._game.players.items()}

    @property
    def readings(self) -> Readings:
        """The latest readings of the sensors, of the first of several discriminators."""
        return next(iter(self._game.players.values())).readings

    def diagnosis(self, d: str = "") -> Diagnosis:
        """What is wrong or right with the run so far; of several discriminators with that one.
        First, what the loop check has found."""
        self._listener.flush()
        if d not in self._game.players:
            names = ", ".join(self._game.players)
            raise UserError(f"Balance: diagnosis of which discriminator? {names}")
        return with_loop_bugs(self._journal.diagnosis.diagnosis(d), self.loop_findings)

    def state_dict(self) -> dict[str, Any]:
        """What goes on with a resumed loop, as plain JSON values: save it with the networks."""
        self._listener.end_open()
        self._listener.flush()
        return self._game.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`, after the networks and optimizers were loaded and before the
        first step. Rows of the run folder past its step are dropped.

        Raises `UserError`, and changes nothing, for something else than such a state, for that of
        another policy, and after a turn.
        """
        if self._journal.has_begun:
            raise UserError("Balance.load_state_dict comes before the first step of the loop")
        try:
            self._game.load_state_dict(state)
        except NOT_A_STATE as error:
            raise UserError(
                f"Balance.load_state_dict: {error or type(error).__name__}; give what this "
                "Balance's own state_dict() returned, with the policy it had then"
            ) from error
        self._listener.flush()

    def close(self) -> None:
        """End the open step, write what is left and let go of the networks and optimizers."""
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._listener.end_open(failed=True)
        self.close()


def _named(given: Any) -> dict[str, Any]:
    """Discriminators or their optimizers by name: "" where there is one, "1", "2" of a list."""
    if isinstance(given, Mapping | nn.ModuleDict):
        return {str(name): each for name, each in given.items()}
    if isinstance(given, Sequence | nn.ModuleList):
        return {str(number): each for number, each in enumerate(given, 1)}
    return {"": given}


def _discriminators(given: Any) -> dict[str, nn.Module]:
    ds = _named(given)
    if ds and all(isinstance(d, nn.Module) for d in ds.values()):
        return ds
    raise UserError("Balance: discriminator is a module, a list of them, or a dictionary by name")


def _optimizers(ds: Mapping[str, nn.Module], d_optimizer: Any) -> dict[str, Optimizer]:
    """The optimizer of each discriminator."""
    optimizers = {name: innermost(each) for name, each in _named(d_optimizer).items()}
    if optimizers.keys() == {""}:
        return dict.fromkeys(ds, optimizers[""])
    if optimizers.keys() == ds.keys():
        return optimizers
    raise UserError(
        "Balance: d_optimizer is one for all discriminators, or one for each, given as these are: "
        + ", ".join(ds)
    )
