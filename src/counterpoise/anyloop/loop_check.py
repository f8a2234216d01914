"""Finds bugs of a hand-written loop while it runs.

Nothing is guessed from source code. What a backward pass reaches is read from the graph it is
about to run through; what an optimizer owns and whether a network moves, from the tensors. The
loop's numbers stay as they are.
"""

import functools
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import Node

from counterpoise.anyloop import check_calls, check_losses, check_penalties, check_weights
from counterpoise.anyloop.check_graph import Lifetimes
from counterpoise.anyloop.check_optimizers import Gradients, kinds_of
from counterpoise.anyloop.graph import walk
from counterpoise.anyloop.hooks import owned_ids, user_line
from counterpoise.anyloop.network_hooks import FAKE, REAL, GCall, Phase
from counterpoise.anyloop.observed_turn import (
    BackwardPass,
    Networks,
    ObservedTurn,
    Symptom,
    TurnObserver,
)
from counterpoise.diagnosis.loop_bugs import LOOP_BUGS, LoopFinding
from counterpoise.game.game import Game
from counterpoise.run_folder import LOOP_BUG

LOGGER = logging.getLogger("counterpoise")

# The loop is watched for so many turns: a bug of the loop is there in every one of them.
CHECKED_TURNS = 100
# What is looked for in a turn that is over.
CHECKS: tuple[Callable[[ObservedTurn], Iterator[Symptom]], ...] = (
    *check_calls.CHECKS,
    check_losses.labels,
    check_penalties.penalties,
    check_weights.copied,
)


class LoopChecker:
    """Watches the loop of a game. `findings` grows; each bug is reported once. made_at: the user's
    line where all was given; phase: what part of the loop is open."""

    def __init__(self, generator: nn.Module, game: Game, made_at: str) -> None:
        self._networks, self._made_at = Networks(generator, game), made_at
        self._tell = game.tell
        self.phase: Callable[[], Phase | None] = lambda: None
        self.findings: list[LoopFinding] = []
        self.is_finished = self._saw_backward = False
        self._reported: set[tuple[str, str]] = set()
        self._step = self._turns = 0
        self._in_a_row: Counter[tuple[str, str]] = Counter()  # turns in a row, by bug and network
        self._observer = TurnObserver(self._networks)
        self._lifetimes, self._averages = Lifetimes(), check_weights.Averages(self._networks.gs)
        guard = self._guarded
        self._gradients = Gradients(lambda: self.phase(), self._networks, guard)
        self._report(_of_owners(self._networks))
        # What the loop calls, through hooks.
        self.g_called, self.d_called = guard(self._g_called), guard(self._observer.d_called)
        self.gradient, self.backward = guard(self._gradient), guard(self._backward)
        self.optimizer_steps, self.turn_ends = guard(self._optimizer_steps), guard(self._turn_ends)

    def close(self) -> None:
        """Let go of everything, and say what was found."""
        if self.is_finished:
            return
        self.is_finished = True
        self._gradients.close()
        found = "1 finding" if len(self.findings) == 1 else f"{len(self.findings)} findings"
        if not self._saw_backward:
            found += "; no `backward()` was seen in D's and G's parts, so most was not looked at"
        LOGGER.info("loop check: %d turns watched, %s", self._turns, found)

    def _guarded(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """A call from a hook that does not raise: the loop goes on without these checks."""

        @functools.wraps(call)
        def guarded(*arguments: Any, **options: Any) -> Any:
            try:
                return None if self.is_finished else call(*arguments, **options)
            except Exception as error:
                what = f"{type(error).__name__}: {error}"
                LOGGER.warning("loop check: given up in turn %d (%s)", self._turns + 1, what)
                LOGGER.debug("loop check", exc_info=True)
                self.close()
                return None

        return guarded

    # What a loop does, through hooks.

    def _g_called(self, made: GCall, node: Node | None, given: Sequence[Tensor]) -> None:
        """A G has made images: see `TurnObserver.g_called`."""
        self._observer.g_called(made, node, given)
        self._lifetimes.follow(node, made.line)

    def _backward(
        self,
        part: Phase,
        roots: Sequence[Tensor],
        weights: Sequence[Tensor | None],
        inputs: Sequence[Tensor],
        *,
        is_retained: bool,
    ) -> Callable[[Any], None]:
        """A backward pass is about to run (`TurnObserver.backward`). What is to be called after."""
        nodes = set(walk(root.grad_fn for root in roots if root.grad_fn is not None))
        self._saw_backward = True
        new = self._observer.backward(part, roots, weights, inputs, nodes, is_retained=is_retained)
        self._report(_of_pass(self._networks, new))
        self._report(check_losses.of_operations(self._observer.turn, new))
        check_weights.find_copy(self._networks, new, nodes)
        self._lifetimes.begins(nodes, new)
        self._gradients.begins(new)
        new.roots = new.outside = ()
        return self._guarded(lambda _: self._gradients.ran(new))

    def _gradient(
        self, part: Phase, outputs: Sequence[Tensor], inputs: Sequence[Tensor]
    ) -> Callable[[Any], None] | None:
        """`autograd.grad` is about to run. What is to be called after, if anything."""
        self._lifetimes.begins(set(walk(each.grad_fn for each in outputs if each.grad_fn)))
        after = self._observer.gradient(part, outputs, inputs)
        return None if after is None else self._guarded(after)

    def _optimizer_steps(
        self, network: str, part: Phase, *, rests: bool, halves_chosen: bool
    ) -> None:
        """An optimizer is about to step, unless the policy `rests` the network; `halves_chosen`:
        which halves of D's loss are in it was left to the policy."""
        is_due = self._observer.steps(network, part, rests=rests)
        if not (is_due or self._networks.share_optimizer):
            detail = f"{network.upper()}'s optimizer in {part.network.upper()}'s part"
            self._report([Symptom("wrong-optimizer", True, user_line(), detail, network)])
        if network == part.network == "d":
            passes = self._observer.turn.passes_of(part)
            self._observer.turn.d_stepped += passes
            self._report(_of_d_step(passes, part, halves_chosen))

    def part_begins(self, step: int) -> None:
        self._step = step

    def part_ends(self, part: Phase) -> None:
        if part.network == "d" and not (part.d_calls or part.backwards):
            self._observer.resting.add("d")  # it starts late
        passes = self._observer.turn.passes_of(part) if part.network == "g" else []
        if passes and not any(each.leaves & self._networks.ids["g"] for each in passes):
            self._report([Symptom("no-gradient-to-generator", True, passes[-1].line)])

    def _turn_ends(self) -> None:
        """D's and G's parts of a turn are over: let the checks look at it. A bug is one that shows
        in as many turns in a row as it must."""
        self._turns += 1
        symptoms: dict[tuple[str, str], Symptom] = {}
        for symptom in self._look(self._observer.turn):
            key = symptom.name, symptom.network
            if key not in symptoms or not symptoms[key].seen:
                symptoms[key] = symptom
        for key, symptom in symptoms.items():
            self._in_a_row[key] = self._in_a_row[key] + 1 if symptom.seen else 0
            if self._in_a_row[key] >= LOOP_BUGS[symptom.name].turns:
                self._report([symptom])
        self._observer.next_turn()
        if self._turns >= CHECKED_TURNS:
            self.close()

    def _look(self, turn: ObservedTurn) -> Iterator[Symptom]:
        for check in CHECKS:
            yield from check(turn)
        yield from self._gradients.look(turn, has_average=self._averages.has_any)
        yield from self._lifetimes.look()
        yield from self._averages.look()

    def _report(self, symptoms: Iterable[Symptom]) -> None:
        """Report bugs, each once; those that either network may have, once for each."""
        for symptom in symptoms:
            key = symptom.name, symptom.network
            rests = key[0] == "never-updated" and key[1] in self._observer.resting
            if key in self._reported or rests:
                continue
            self._reported.add(key)
            bug, line = LOOP_BUGS[symptom.name], symptom.line or self._made_at
            found = symptom.name, bug.meaning, bug.change, line, self._step, symptom.detail
            finding = LoopFinding(*found)
            self.findings.append(finding)
            self._tell(self._step, LOOP_BUG, str(finding), logging.WARNING)


# Bugs that show at once: who owns what, and what a backward pass or a step does in whose part.


def _of_owners(networks: Networks) -> Iterator[Symptom]:
    """The optimizers were given."""
    for key, optimizer in [] if networks.share_optimizer else networks.optimizers:
        owned = owned_ids(optimizer)
        foreign = owned & networks.ids["d" if key == "g" else "g"]
        if foreign:
            detail = f"{key.upper()}'s owns {len(foreign)} parameters of the other network"
            yield Symptom("foreign-parameters", True, "", detail, key)
        elif not owned & networks.ids[key]:
            detail = f"{key.upper()}'s optimizer owns none of its parameters"
            yield Symptom("unowned-parameters", True, "", detail, key)


def _of_pass(networks: Networks, new: BackwardPass) -> Iterator[Symptom]:
    """A backward pass is about to run."""
    if new.network == "d":
        for call in new.calls:
            if not call.training and _is_another_in_eval(networks.ds[call.d]):
                yield Symptom("eval-mode", True, call.line, "D", "d")
    elif new.leaves & networks.ids["g"] and any(
        not g.training and _is_another_in_eval(g) for g in networks.gs
    ):
        yield Symptom("eval-mode", True, new.line, "G", "g")


def _of_d_step(
    passes: Sequence[BackwardPass], part: Phase, halves_chosen: bool
) -> Iterator[Symptom]:
    """D's optimizer is about to step in D's part."""
    reached = kinds_of(passes)
    if len(reached) == 1 and not halves_chosen:
        kind = REAL if FAKE in reached else FAKE
        if (skipped := part.call(kind)) is not None:
            detail = f"nothing was back-propagated from D's output on {kind} images"
            yield Symptom("half-skipped", True, skipped.line, detail)


def _is_another_in_eval(network: nn.Module) -> bool:
    """Whether a network, in eval mode, has layers that work otherwise in it."""
    for module in network.modules():
        forward = getattr(type(module).forward, "__code__", None)
        drops = getattr(module, "p", getattr(module, "dropout", 1))
        if not module.training and forward and "training" in forward.co_names and drops:
            return True
    return False
