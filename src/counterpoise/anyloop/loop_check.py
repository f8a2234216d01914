"""Finds bugs of a hand-written loop while it runs.

Nothing is guessed from source code. What a backward pass reaches is read from the graph it is
about to run through; what an optimizer owns and whether a network moves, from the tensors. The
loop's numbers stay as they are.
"""

import functools
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from counterpoise.anyloop.check_averages import Averages
from counterpoise.anyloop.check_graph import Lifetimes, Players
from counterpoise.anyloop.check_judgement import Judgement
from counterpoise.anyloop.check_optimizers import Optimizers
from counterpoise.anyloop.check_penalties import Penalties
from counterpoise.anyloop.check_values import Values
from counterpoise.anyloop.graph import ends_of, leaf_ids, walk
from counterpoise.anyloop.hooks import user_line
from counterpoise.anyloop.loop_bugs import LOOP_BUGS, LoopFinding
from counterpoise.anyloop.scene import Check, Sight
from counterpoise.anyloop.tap import FAKE, REAL, Call, Phase
from counterpoise.anyloop.witness import Witness
from counterpoise.game.game import Game
from counterpoise.game.r1 import mixes_images

LOGGER = logging.getLogger("counterpoise")

# The loop is watched for so many turns: a bug of the loop is there in every one of them.
CHECKED_TURNS = 100
# Turns after which a network that has not moved counts as never updated.
UPDATED_WITHIN = 20
# What costs more is looked at in so many turns in which D is trained.
LOOKED_AT_TURNS = 15


class LoopChecker:
    """Watches the loop of a game. `findings` grows; each bug is reported once. made_at: the user's
    line where all was given."""

    def __init__(self, generator: nn.Module, game: Game, made_at: str) -> None:
        ds = nn.ModuleList(player.network for player in game.players.values())
        self._networks = {"g": generator, "d": ds}
        self._optimizers = {"g": [game.g_optimizer], "d": game.d_optimizers}
        self._tell, self._made_at = game.tell, made_at
        self.findings: list[LoopFinding] = []
        self._reported: set[tuple[str, str]] = set()
        self._step = self._turns = 0
        self._parameters = {
            key: {id(p) for p in network.parameters()} for key, network in self._networks.items()
        }
        # A G may have D inside.
        self._parameters["g"] -= self._parameters["d"]
        # Networks' weights, those too that they hide, each with what it was when the check began.
        self._initial = {key: self._with_copies(key) for key in self._networks}
        self._optimizer_lines: dict[str, str] = {}
        # Whether a network was kept as it is in some turn, by the policy or a loss of 0.
        self._rests = {"g": False, "d": False}
        # Whether a gradient that is there now was stepped with already, or is the other's.
        self._gradients_spent = {"g": True, "d": True}
        # Whether a network's own loss has left its gradients, and nothing else has since.
        self._step_is_due = {"g": False, "d": False}
        # Whether what is back-propagated in this part reaches G, and on which images D's answers.
        self._reached_g = False
        self._reached: list[Call] = []
        # Where a backward pass of D's part ran through G, until D's optimizer steps on it.
        self._through_g = ""
        self._check_owners()
        self._gs = list(generator) if isinstance(generator, nn.ModuleList) else [generator]
        self._ds = {name: player.network for name, player in game.players.items()}
        self._in_a_row: Counter[tuple[str, str]] = Counter()  # turns in a row, by bug and network
        self._looked_at = 0
        self._witness = Witness(self._gs, self._ds, self._guarded)
        self._witness.checks = self._make_checks(game)

    def hear(self, phase: Callable[[], Phase | None]) -> None:
        """The open part, of the loop's own doing, from now on."""
        self._witness.phase = phase

    @property
    def is_finished(self) -> bool:
        return self._turns >= CHECKED_TURNS

    def begin(self, step: int) -> None:
        self._step = step
        self._reached_g = False
        self._reached, self._through_g = [], ""

    def end(self, phase: Phase) -> None:
        real, fake = phase.call(REAL), phase.call(FAKE)
        if phase.network == "g":
            self._look()
            if self._reached_g and phase.d_calls and FAKE not in self._kinds_reached():
                self._found("adversarial-without-gradient", phase.d_calls[-1].line)
            return
        if not (phase.d_calls or phase.backwards):
            self._rests["d"] = True  # it starts late
        if (
            fake is not None
            and fake.line
            and real not in (None, fake)
            and mixes_images(self._networks["d"])
        ):
            self._found("batch-norm-split", fake.line)

    def turn_ends(self) -> None:
        """D's and G's parts of a turn are over."""
        self._turns += 1
        if self._turns == UPDATED_WITHIN:
            self._check_updated()
        if self.is_finished:
            self.close()
            count = len(self.findings)
            LOGGER.info("loop check: %d turns watched, %d findings", self._turns, count)

    def close(self) -> None:
        """Let go of everything."""
        if self._witness.checks:
            self._witness.close()
        for check in self._witness.checks:
            check.close()
        self._witness.checks = []

    def _look(self) -> None:
        """Let the checks look at a turn; a bug is one that shows in as many in a row as it must."""
        scene, checks = self._witness.scene, list(self._witness.checks)
        sights: dict[tuple[str, str], Sight] = {}
        for check in checks:
            for sight in self._guarded(lambda c=check: list(c.look(scene)))() or ():
                key = sight.name, sight.network
                sights[key] = sights[key] if key in sights and sights[key].seen else sight
        for key, sight in sights.items():
            self._in_a_row[key] = self._in_a_row[key] + 1 if sight.seen else 0
            spared = sight.name == "never-updated" and self._rests[sight.network]
            if self._in_a_row[key] >= LOOP_BUGS[sight.name].turns and not spared:
                self._found(sight.name, sight.line or self._made_at, *sight[3:])
        self._looked_at += bool(scene.calls("d"))
        self._witness.next_scene()
        if self._looked_at == LOOKED_AT_TURNS:
            self.close()

    def _guarded(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """A call from a hook that does not raise: the loop goes on without these checks."""

        @functools.wraps(call)
        def guarded(*arguments: Any, **options: Any) -> Any:
            try:
                return call(*arguments, **options) if self._witness.checks else None
            except Exception:
                LOGGER.debug("loop check: given up", exc_info=True)
                self.close()
                return None

        return guarded

    def backward(self, phase: Phase, roots: list[Tensor], inputs: Any) -> None:
        """A backward pass is about to run, for these `inputs` alone where there are any."""
        nodes = set(walk(root.grad_fn for root in roots if root.grad_fn is not None))
        leaves = leaf_ids(nodes)
        if inputs is not None:
            given = inputs.values() if isinstance(inputs, dict) else inputs
            leaves &= {id(leaf) for leaf in ([given] if isinstance(given, Tensor) else given)}
        own = phase.network
        self._guarded(self._witness.backward)(own, roots, nodes, leaves)
        if not any(bool(root.any()) for root in roots):
            # It has a weight of 0, as before the step from which a loop trains D.
            self._rests[own] = True
        if phase.backwards == 1:
            self._check_stale(own, leaves)
        # D's outputs may go into a loss one by one, and be given to Balance in one tensor.
        judged = [
            call
            for call in phase.d_calls
            if any(n in nodes for each in call.outputs for n, _ in ends_of(each))
        ]
        for call in judged:
            self._reached.append(call)
            if own == "d" and not call.training and _is_another_in_eval(self._ds[call.d]):
                self._found("eval-mode", call.line, "D", "d")
        if own == "d" and leaves & self._parameters["g"]:
            guilty = [call.line for call in judged if call.from_g]
            self._through_g = guilty[0] if guilty else user_line() or self._made_at
        if own == "g":
            self._reached_g |= bool(leaves & self._parameters["g"])
            in_eval = (g for g in self._gs if not g.training and _is_another_in_eval(g))
            if self._reached_g and any(in_eval):
                self._found("eval-mode", user_line(), "G", "g")
            if not self._reached_g:
                self._found("no-gradient-to-generator", user_line())
        self._step_is_due[own] = True
        other = "d" if own == "g" else "g"
        if leaves & self._parameters[other]:
            # What it leaves in the other network is none of that network's loss.
            self._gradients_spent[other] = True
            self._step_is_due[other] = False

    def optimizer_steps(
        self, network: str, phase: Phase, *, rests: bool, halves_chosen: bool
    ) -> None:
        """An optimizer is about to step, unless the policy `rests` the network; `halves_chosen`:
        which halves of D's loss are in it was left to the policy."""
        line = self._optimizer_lines[network] = user_line()
        self._rests[network] |= rests
        self._gradients_spent[network] = True
        if network == phase.network:
            self._step_is_due[network] = False
        elif not self._step_is_due[network]:
            detail = f"{network.upper()}'s optimizer in {phase.network.upper()}'s part"
            self._found("wrong-optimizer", line, detail, network)
        if network == "d" and self._through_g:
            self._found("fake-not-detached", self._through_g)
        reached = self._kinds_reached()
        if network == phase.network == "d" and len(reached) == 1 and not halves_chosen:
            kind = REAL if FAKE in reached else FAKE
            if (skipped := phase.call(kind)) is not None:
                detail = f"nothing was back-propagated from D's output on {kind} images"
                self._found("half-skipped", skipped.line, detail)

    def _make_checks(self, game: Game) -> list[Check]:
        def uses_real(d: str) -> bool | None:
            objective = game.players[d].objective
            return None if objective is None else "relativistic" in objective.name

        return [
            Values(),
            Judgement(),
            Penalties(self._ds),
            Optimizers(
                self._witness, self._optimizers, self._initial, self._ds.values(), self._guarded
            ),
            Lifetimes(),
            Players(self._weights("g"), self._ds, uses_real),
            Averages(self._gs),
        ]

    def _kinds_reached(self) -> set[str]:
        """The kinds of images whose answers were back-propagated from in this part."""
        return set().union(*(call.kinds for call in self._reached))

    def _weights(self, key: str) -> list[Tensor]:
        """A network's own."""
        own = self._parameters[key]
        return [p for p in self._networks[key].parameters() if id(p) in own]

    def _with_copies(self, key: str) -> list[tuple[Tensor, Tensor]]:
        """What of a network's weights is trained, and copies of it."""
        weights = [*self._weights(key), *_hidden(self._networks[key])]
        trained = {id(p): p for p in weights if p.requires_grad}
        return [(weight, weight.detach().clone()) for weight in trained.values()]

    def _check_owners(self) -> None:
        for key, other in (("g", "d"), ("d", "g")):
            foreign = self._parameters[other] - self._parameters[key]
            foreign &= _owned(self._optimizers[key])
            if foreign:
                detail = f"{key.upper()}'s owns {len(foreign)} parameters of {other.upper()}"
                self._found("foreign-parameters", self._made_at, detail, key)

    def _check_stale(self, network: str, leaves: set[int]) -> None:
        """Gradients from before this part are stale, unless the loop is accumulating them."""
        stale = self._gradients_spent[network] and any(
            p.grad is not None and bool(p.grad.any())
            for p in self._weights(network)
            # Of several Ds each may have its gradients cleared just before its own backward pass.
            if id(p) in leaves
        )
        self._gradients_spent[network] = False
        if stale:
            self._found(f"stale-{network}-gradients", user_line())

    def _check_updated(self) -> None:
        for key, pairs in self._initial.items():
            own = [(p, before) for p, before in pairs if id(p) in self._parameters[key]]
            now = [p for p in self._weights(key) if p.requires_grad]
            if len(now) != len(own) or self._rests[key] or not own:
                continue
            if not all(torch.equal(weight, before) for weight, before in own):
                continue
            line = self._optimizer_lines.get(key, "")
            detail = f"{key.upper()}, in {self._turns} turns; its optimizer " + (
                "steps, but has no gradients for it" if line else "never steps"
            )
            self._found("never-updated", line or self._made_at, detail, key)
        self._initial = {}

    def _found(self, name: str, line: str, detail: str = "", network: str = "") -> None:
        """Report a bug, once; those that either network may have, once for each."""
        if (name, network) in self._reported:
            return
        self._reported.add((name, network))
        bug = LOOP_BUGS[name]
        finding = LoopFinding(name, bug.meaning, bug.change, line, self._step, detail)
        self.findings.append(finding)
        self._tell(self._step, "loop-bug", str(finding), logging.WARNING)


def _owned(optimizers: Sequence[torch.optim.Optimizer]) -> set[int]:
    """`id` of every parameter that optimizers update."""
    return {id(p) for each in optimizers for group in each.param_groups for p in group["params"]}


def _is_another_in_eval(network: nn.Module) -> bool:
    """Whether a network, in eval mode, has layers that work otherwise in it."""
    for module in network.modules():
        forward = getattr(type(module).forward, "__code__", None)
        drops = getattr(module, "p", getattr(module, "dropout", 1))
        if not module.training and forward and "training" in forward.co_names and drops:
            return True
    return False


def _hidden(network: nn.Module) -> Iterator[nn.Parameter]:
    """Parameters of modules that a network keeps in plain lists or dictionaries."""
    for module in network.modules():
        for value in vars(module).values():
            if isinstance(value, list | tuple | dict):
                values = value.values() if isinstance(value, dict) else value
                for each in values:
                    if isinstance(each, nn.Module):
                        yield from each.parameters()
