"""Finds bugs of a hand-written loop while it runs.

Nothing is guessed from source code. What a backward pass reaches is read from the graph it is
about to run through; what an optimizer owns and whether a network moves, from the tensors. The
loop's numbers stay as they are.
"""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from counterpoise.anyloop.graph import ends_in_sigmoid, ends_of, leaf_ids, operation, walk
from counterpoise.anyloop.hooks import BACKWARD, user_line
from counterpoise.anyloop.loop_bugs import LOOP_BUGS, LoopFinding
from counterpoise.anyloop.tap import FAKE, REAL, Call, Phase
from counterpoise.game.game import Game
from counterpoise.game.r1 import mixes_images

LOGGER = logging.getLogger("counterpoise")

# The loop is watched for so many turns: a bug of the loop is there in every one of them.
CHECKED_TURNS = 100
# Turns after which a network that has not moved counts as never updated.
UPDATED_WITHIN = 20
# So many turns in a row must show what chance can show in one.
HELPS_TURNS = 10
SAME_INPUTS = 3


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
        # Networks' weights as they were when the check began.
        self._initial = {
            key: [p.detach().clone() for p in self._weights(key) if p.requires_grad]
            for key in self._networks
        }
        self._optimizer_lines: dict[str, str] = {}
        # Whether a network was kept as it is in some turn, by the policy or a loss of 0.
        self._rests = {"g": False, "d": False}
        # Whether a gradient that is there now was stepped with already, or is the other's.
        self._gradients_spent = {"g": True, "d": True}
        # Whether a network's own loss has left its gradients, and nothing else has since.
        self._step_is_due = {"g": False, "d": False}
        self._last_inputs: list[Tensor] = []  # of G
        self._helps = self._same_inputs = 0  # turns in a row
        # How G's loss pulled what D says of G's images in this turn, and where D was asked.
        self._pulls: list[Tensor] = []
        self._asked_line = ""
        # Whether what is back-propagated in this part reaches G, and on which images D's answers.
        self._reached_g = False
        self._reached: list[Call] = []
        # Where a backward pass of D's part ran through G, until D's optimizer steps on it.
        self._through_g = ""
        self._check_owners()

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
            if self._reached_g and phase.d_calls and FAKE not in self._kinds_reached():
                self._found("adversarial-without-gradient", phase.d_calls[-1].line)
            self._asked_line = fake.line if fake is not None else ""
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

    def turn_ends(self, directions: Sequence[int], g_inputs: Sequence[Tensor], g_line: str) -> None:
        """D's and G's parts of a turn are over. `directions` are what is known of the Ds'; G made
        its last images from `g_inputs`, if any, at `g_line`."""
        self._turns += 1
        if g_inputs:
            last, self._last_inputs = self._last_inputs, [each.clone() for each in g_inputs]
            same = len(last) == len(g_inputs) and all(map(torch.equal, last, g_inputs))
            self._same_inputs = self._same_inputs + 1 if same else 0
            if self._same_inputs >= SAME_INPUTS:
                self._found("same-noise", g_line)
        # G must pull what D says of its images where D's loss pulls that of real ones.
        if self._pulls and set(directions) == {1}:
            helps = all(float(pull) < 0 for pull in self._pulls)
            self._helps = self._helps + 1 if helps else 0
            if self._helps >= HELPS_TURNS:
                self._found("g-helps-d", self._asked_line)
        self._pulls = []
        if self._turns == UPDATED_WITHIN:
            self._check_updated()
        if self.is_finished:
            count = len(self.findings)
            LOGGER.info("loop check: %d turns watched, %d findings", self._turns, count)

    def backward(
        self, phase: Phase, roots: list[Tensor], inputs: Any, on_fake: Sequence[Tensor]
    ) -> None:
        """A backward pass is about to run, for these `inputs` alone where there are any; `on_fake`:
        what Ds say of G's images in G's part."""
        nodes = set(walk(root.grad_fn for root in roots if root.grad_fn is not None))
        leaves = leaf_ids(nodes)
        if inputs is not None:
            given = inputs.values() if isinstance(inputs, dict) else inputs
            leaves &= {id(leaf) for leaf in ([given] if isinstance(given, Tensor) else given)}
        own = phase.network
        if not self._pulls:
            for each in on_fake:
                self._note_pull(each)
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
            if own == "d" and not call.training:
                self._found("eval-mode", call.line, "D", "d")
        if judged and any(map(_is_sigmoid_before_logits_loss, nodes)):
            self._found("sigmoid-before-logits-loss", judged[0].line)
        if own == "d" and leaves & self._parameters["g"]:
            guilty = [call.line for call in judged if call.from_g]
            self._through_g = guilty[0] if guilty else user_line() or self._made_at
        if own == "g":
            self._reached_g |= bool(leaves & self._parameters["g"])
            if self._reached_g and not self._networks["g"].training:
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

    def _kinds_reached(self) -> set[str]:
        """The kinds of images whose answers were back-propagated from in this part."""
        return set().union(*(call.kinds for call in self._reached))

    def _note_pull(self, outputs: Tensor) -> None:
        """Add up how backward passes to come pull these, up where it is positive."""
        if not outputs.requires_grad:
            return
        pull = torch.zeros((), device=outputs.device)
        self._pulls.append(pull)

        def note(gradient: Tensor) -> None:
            if BACKWARD.running:
                pull.sub_(gradient.detach().float().sum())

        outputs.register_hook(note)  # type: ignore[no-untyped-call]

    def _weights(self, key: str) -> list[Tensor]:
        """A network's own."""
        own = self._parameters[key]
        return [p for p in self._networks[key].parameters() if id(p) in own]

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
        for key, initial in self._initial.items():
            now = [p for p in self._weights(key) if p.requires_grad]
            if len(now) != len(initial) or self._rests[key] or not initial:
                continue
            still = [p for p, before in zip(now, initial, strict=True) if torch.equal(p, before)]
            owned = _owned(self._optimizers[key])
            # Another optimizer, that was not given, may own them; then they move.
            unowned = [p for p in still if id(p) not in owned]
            if unowned:
                detail = f"{len(unowned)} of {key.upper()}'s {len(now)} parameters"
                self._found("unowned-parameters", self._made_at, detail, key)
            if len(still) < len(now):
                continue
            line = self._optimizer_lines.get(key, "")
            detail = f"{key.upper()}, in {self._turns} turns; its optimizer " + (
                "steps, but has no gradients for it" if line else "never steps"
            )
            self._found("never-updated", line or self._made_at, detail, key)

    def _found(self, name: str, line: str, detail: str = "", network: str = "") -> None:
        """Report a bug, once; those that either network may have, once for each."""
        if (name, network) in self._reported:
            return
        self._reported.add((name, network))
        finding = LoopFinding(name, *LOOP_BUGS[name], line, self._step, detail)
        self.findings.append(finding)
        self._tell(self._step, "loop-bug", str(finding), logging.WARNING)


def _owned(optimizers: Sequence[torch.optim.Optimizer]) -> set[int]:
    """`id` of every parameter that optimizers update."""
    return {id(p) for each in optimizers for group in each.param_groups for p in group["params"]}


def _is_sigmoid_before_logits_loss(node: Node) -> bool:
    return operation(node) == "BinaryCrossEntropyWithLogits" and ends_in_sigmoid(
        node.next_functions[0][0]
    )
