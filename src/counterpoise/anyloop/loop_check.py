"""Finds bugs of a hand-written loop while it runs.

Nothing is guessed from source code. What a backward pass reaches is read from the graph it is
about to run through; what a loss is given, from the call; what an optimizer owns and whether a
network moves, from the tensors. The loop's numbers stay as they are.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import Node

from counterpoise.anyloop.direction import note_pull
from counterpoise.anyloop.graph import comes_out_of_sigmoid, ends_of, leaf_ids, walk
from counterpoise.anyloop.hooks import CallWatch, user_line
from counterpoise.anyloop.loop_bugs import LOOP_BUGS, LoopFinding
from counterpoise.anyloop.tap import FAKE, REAL, Call, Phase
from counterpoise.game.r1 import mixes_images

LOGGER = logging.getLogger("counterpoise")

# The loop is watched for so many turns: a bug of the loop is there in every one of them.
CHECKED_TURNS = 100
# Turns after which a network that has not moved counts as never updated.
UPDATED_WITHIN = 20
# So many turns in a row must show what chance can show in one.
SAME_INPUTS = 3
HELPS_TURNS = 10

_LOSSES = {
    name: CallWatch(F, name)
    for name in ("binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss")
}


class LoopChecker:
    """Watches one loop. `findings` grows; each bug is reported once."""

    def __init__(
        self,
        networks: dict[str, nn.Module],
        optimizers: dict[str, torch.optim.Optimizer],
        report: Callable[[LoopFinding], None],
        made_at: str,
        findings: list[LoopFinding],
    ) -> None:
        self._networks, self._optimizers = networks, optimizers
        self._report, self._made_at, self.findings = report, made_at, findings
        self._reported: set[tuple[str, str]] = set()
        self._step = 0
        self._turns = 0
        self._parameters = {
            key: {id(p) for p in network.parameters()} for key, network in networks.items()
        }
        self._listeners = {name: partial(self._on_loss, name) for name in _LOSSES}
        # Networks' weights as they were when the check began, until they have moved.
        self._initial = {
            key: [p.detach().clone() for p in network.parameters() if p.requires_grad]
            for key, network in networks.items()
        }
        self._optimizer_lines: dict[str, str] = {}
        # Whether a network was kept as it is in some turn, by the policy or a loss of 0.
        self._rests = {"g": False, "d": False}
        # Whether a gradient that is there now was stepped with already, or is the other's.
        self._gradients_spent = {"g": True, "d": True}
        self._last_input: list[Tensor] = []
        self._same_inputs = 0
        self._helps = 0
        self._pull: dict[str, Tensor] = {}
        self._forget_phase()
        self._check_owners()

    @property
    def finished(self) -> bool:
        """Whether enough turns have been watched."""
        return self._turns >= CHECKED_TURNS

    def begin(self, step: int) -> None:
        """A part of the loop begins."""
        self._step = step
        self._forget_phase()
        for name, listener in self._listeners.items():
            _LOSSES[name].add(listener)

    def end(self, phase: Phase, *, failed: bool) -> None:
        """A part of the loop ends; `failed` where by an exception."""
        for name, listener in self._listeners.items():
            _LOSSES[name].remove(listener)
        if failed:
            return
        if phase.network == "d":
            real, fake = phase.call(REAL), phase.call(FAKE)
            both = real is not None and fake is not None and real.line and fake.line
            if fake is not None and both and mixes_images(self._networks["d"]):
                self._found("batch-norm-split", fake.line)
        elif self._reached_g and phase.d_calls and not self._reached[FAKE]:
            self._found("adversarial-without-gradient", phase.d_calls[-1].line)

    def turn_ends(self, phases: list[Phase]) -> None:
        """D's and G's parts of a turn are over."""
        self._turns += 1
        self._check_inputs(phases)
        self._check_direction(phases)
        if self._turns == UPDATED_WITHIN:
            self._check_updated()
        if self.finished:
            self._initial.clear()
            self._last_input = []
            count = len(self.findings)
            LOGGER.info("loop check: %d turns watched, %d findings", self._turns, count)

    def backward(self, phase: Phase, roots: list[Tensor], inputs: Any) -> None:
        """A backward pass is about to run, for these `inputs` alone where there are any."""
        nodes = set(walk(root.grad_fn for root in roots if root.grad_fn is not None))
        leaves = leaf_ids(nodes)
        if inputs is not None:
            given = inputs.values() if isinstance(inputs, dict) else inputs
            leaves &= {id(leaf) for leaf in ([given] if isinstance(given, Tensor) else given)}
        own = phase.network
        if not any(bool(root.any()) for root in roots):
            # It has a weight of 0, as before the step from which a loop trains D.
            self._rests[own] = True
        if not self._backwards:
            self._check_stale(own, leaves)
        self._backwards += 1
        judged = [call for call in phase.d_calls if _reaches(nodes, call)]
        for call in judged:
            # D may be asked about the same images more than once.
            self._reached[FAKE if call.from_g or call.kind == FAKE else REAL] = True
            if call.kind == FAKE:
                note_pull(self._pull, own, call.outputs)
            elif call.kind == REAL and own == "d":
                note_pull(self._pull, REAL, call.outputs)
            if own == "d" and not call.training:
                self._found("eval-mode", call.line, "D", "d")
        for made in phase.generated:
            if not made.training and made.node in nodes:
                self._found("eval-mode", made.line, "G", "g")
        if own == "d" and leaves & self._parameters["g"]:
            guilty = [call.line for call in judged if call.carries_gradient]
            self._found("fake-not-detached", guilty[0] if guilty else user_line())
        if own == "g":
            self._reached_g |= bool(leaves & self._parameters["g"])
            if not self._reached_g:
                self._found("no-gradient-to-generator", user_line())
        other = "d" if own == "g" else "g"
        if leaves & self._parameters[other]:
            # What it leaves in the other network is none of that network's loss.
            self._gradients_spent[other] = True

    def optimizer_steps(self, network: str, phase: Phase, *, halves_chosen: bool) -> None:
        """An optimizer is about to step; `halves_chosen` where the policy left out a half."""
        line = self._optimizer_lines[network] = user_line()
        self._gradients_spent[network] = True
        if network != phase.network:
            detail = f"{network.upper()}'s optimizer in {phase.network.upper()}'s part"
            self._found("wrong-optimizer", line, detail, network)
        elif network == "d" and self._backwards and not halves_chosen:
            skipped = [kind for kind in (REAL, FAKE) if not self._reached[kind]]
            call = phase.call(skipped[0]) if len(skipped) == 1 else None
            if call is not None:
                detail = f"nothing was back-propagated from D's output on {call.kind} images"
                self._found("half-skipped", call.line, detail)

    def held_by_policy(self, network: str) -> None:
        """The policy keeps a network as it is in this step."""
        self._rests[network] = True

    def _forget_phase(self) -> None:
        self._backwards = 0
        self._reached_g = False
        self._reached = {REAL: False, FAKE: False}

    def _check_owners(self) -> None:
        for key, optimizer in self._optimizers.items():
            other = "g" if key == "d" else "d"
            foreign = _owned(optimizer) & (self._parameters[other] - self._parameters[key])
            if foreign:
                detail = f"{key.upper()}'s optimizer owns {len(foreign)} parameters of "
                self._found("foreign-parameters", self._made_at, detail + other.upper(), key)

    def _check_stale(self, network: str, leaves: set[int]) -> None:
        """Gradients from before this part are stale, unless the loop is accumulating them."""
        stale = self._gradients_spent[network] and any(
            p.grad is not None and bool(p.grad.any())
            for p in self._networks[network].parameters()
            # Of several Ds each may have its gradients cleared just before its own backward pass.
            if id(p) in leaves
        )
        self._gradients_spent[network] = False
        if stale:
            self._found(f"stale-{network}-gradients", user_line())

    def _check_inputs(self, phases: list[Phase]) -> None:
        trained = [each for phase in phases for each in phase.generated if each.node is not None]
        if not trained or not (made := trained[-1]).inputs:
            return
        last, self._last_input = self._last_input, [value.clone() for value in made.inputs]
        same = len(last) == len(self._last_input) and all(map(torch.equal, last, self._last_input))
        self._same_inputs = self._same_inputs + 1 if same else 0
        if self._same_inputs >= SAME_INPUTS:
            self._found("same-noise", made.line)

    def _check_direction(self, phases: list[Phase]) -> None:
        """G must pull D's output on its images where D's loss pulls that on real ones.

        Least squares pull outputs back that are beyond their labels, so only those turns count in
        which D's loss drives real and fake further apart.
        """
        pulls = {name: float(pull) for name, pull in self._pull.items()}
        self._pull = {}
        parts = {phase.network: phase for phase in phases}
        if set(pulls) != {"g", "d", REAL} or set(parts) != {"g", "d"}:
            return
        fake = parts["d"].call(FAKE)
        if fake is not None and fake.images is not None and not fake.from_g:
            return  # only its place says that it is fake
        outputs = [call.outputs for kind in (REAL, FAKE) if (call := parts["d"].call(kind))]
        means = [float(output.mean()) for output in outputs if output is not None]
        if len(means) != 2 or pulls[REAL] * pulls["d"] >= 0:
            return
        if pulls[REAL] * (means[0] - means[1]) <= 0 or not pulls["g"]:
            return
        self._helps = self._helps + 1 if pulls["g"] * pulls["d"] > 0 else 0
        call = parts["g"].call(FAKE)
        if self._helps >= HELPS_TURNS and call is not None:
            self._found("g-helps-d", call.line)

    def _check_updated(self) -> None:
        for key, initial in self._initial.items():
            now = [p for p in self._networks[key].parameters() if p.requires_grad]
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

    def _on_loss(self, name: str, *arguments: Any, **options: Any) -> None:
        """A loss function is about to be called."""
        given = dict(zip(("input", "target"), arguments, strict=False)) | options
        values, labels = given.get("input"), given.get("target")
        if not isinstance(values, Tensor):
            return
        if isinstance(labels, Tensor):
            self._check_labels(values, labels)
        if name == "binary_cross_entropy":
            if bool(((values < 0) | (values > 1)).any()):
                low, high = values.detach().aminmax()
                self._found("not-probabilities", user_line(), f"from {low:.3g} to {high:.3g}")
        elif name == "binary_cross_entropy_with_logits" and comes_out_of_sigmoid(values):
            self._found("sigmoid-before-logits-loss", user_line())

    def _check_labels(self, values: Tensor, labels: Tensor) -> None:
        if not labels.is_floating_point():
            self._found("integer-labels", user_line(), str(labels.dtype))
        try:
            pairs = torch.broadcast_tensors(values, labels)  # type: ignore[no-untyped-call]
        except RuntimeError:  # the loss itself refuses them
            return
        # One label for all outputs is no mistake.
        if pairs[0].numel() > values.numel():
            detail = f"outputs {tuple(values.shape)}, labels {tuple(labels.shape)}"
            self._found("labels-broadcast", user_line(), detail)

    def _found(self, name: str, line: str, detail: str = "", network: str = "") -> None:
        """Report a bug, once; those that either network may have, once for each."""
        if (name, network) in self._reported:
            return
        self._reported.add((name, network))
        finding = LoopFinding(name, *LOOP_BUGS[name], line, self._step, detail)
        self.findings.append(finding)
        self._report(finding)


def _owned(optimizer: torch.optim.Optimizer) -> set[int]:
    """`id` of every parameter that an optimizer updates."""
    return {id(p) for group in optimizer.param_groups for p in group["params"]}


def _reaches(nodes: set[Node], call: Call) -> bool:
    """Whether D's outputs are among what a loss was computed from: they may go into it one by one,
    and be given to Balance in one tensor."""
    return call.outputs is not None and any(node in nodes for node, _ in ends_of(call.outputs))
