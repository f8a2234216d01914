"""Finds bugs of a hand-written loop while it runs.

Nothing is guessed from source code. What a backward pass reaches is read from the graph it is
about to run through; what an optimizer owns and whether a network moves, from the tensors. The
loop's numbers stay as they are.
"""

import functools
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import nn

from counterpoise.anyloop import (
    check_answers,
    check_judgement,
    check_parts,
    check_penalties,
    check_values,
)
from counterpoise.anyloop.check_averages import Averages
from counterpoise.anyloop.hooks import user_line
from counterpoise.anyloop.loop_bugs import LOOP_BUGS, LoopFinding
from counterpoise.anyloop.scene import Networks, Scene, Sight
from counterpoise.anyloop.tap import Phase
from counterpoise.anyloop.witness import Witness
from counterpoise.game.game import Game

LOGGER = logging.getLogger("counterpoise")

# The loop is watched for so many turns: a bug of the loop is there in every one of them.
CHECKED_TURNS = 100
# What costs more is looked at in so many turns in which D is trained.
LOOKED_AT_TURNS = 15

# What is looked for in a turn that is over.
CHECKS: tuple[Callable[[Scene], Iterator[Sight]], ...] = (
    check_values.same_noise,
    check_values.same_images,
    check_values.value_ranges,
    check_judgement.labels,
    check_penalties.penalties,
    check_answers.asked,
    check_answers.places_taken,
    check_answers.without_gradient,
    check_answers.conditions,
    check_answers.augmented,
)


class LoopChecker:
    """Watches the loop of a game. `findings` grows; each bug is reported once. made_at: the user's
    line where all was given."""

    def __init__(self, generator: nn.Module, game: Game, made_at: str) -> None:
        self._networks = Networks(generator, game, made_at)
        self._tell = game.tell
        self.findings: list[LoopFinding] = []
        self._reported: set[tuple[str, str]] = set()
        self._step = self._turns = self._looked_at = 0
        self._in_a_row: Counter[tuple[str, str]] = Counter()  # turns in a row, by bug and network
        self.witness = Witness(self._networks, self._guarded)
        self._report(check_parts.of_owners(self._networks))
        self._averages = Averages(self._networks.gs)

    @property
    def is_finished(self) -> bool:
        return self._turns >= CHECKED_TURNS

    def close(self) -> None:
        """Let go of everything."""
        self.witness.close()

    def backward(self, part: Phase, *what: Any, is_retained: bool) -> Callable[[Any], None]:
        """A backward pass is about to run: see `Witness.backward`. What is to be called after."""
        new = self.witness.backward(part, *what, is_retained=is_retained)
        self._report(check_parts.of_pass(self._networks, self.witness.scene, new))
        self._report(
            self._guarded(lambda: list(check_judgement.of_operations(self._networks, new)))() or ()
        )
        return self._guarded(lambda _: self.witness.ran(new))

    def optimizer_steps(
        self, network: str, part: Phase, *, rests: bool, halves_chosen: bool
    ) -> None:
        """An optimizer is about to step, unless the policy `rests` the network; `halves_chosen`:
        which halves of D's loss are in it was left to the policy."""
        is_due, scene = self.witness.steps(network, part, rests=rests), self.witness.scene
        if not is_due:
            detail = f"{network.upper()}'s optimizer in {part.network.upper()}'s part"
            self._report([Sight("wrong-optimizer", True, user_line(), detail, network)])
        if network == part.network == "d":
            self._report(check_parts.of_d_step(self._networks, scene, part, halves_chosen))

    def begin(self, step: int) -> None:
        self._step = step

    def end(self, part: Phase) -> None:
        if part.network == "d" and not (part.d_calls or part.backwards):
            self.witness.resting.add("d")  # it starts late

    def turn_ends(self) -> None:
        """D's and G's parts of a turn are over: let the checks look at it. A bug is one that shows
        in as many turns in a row as it must."""
        scene, self._turns = self.witness.scene, self._turns + 1
        sights: dict[tuple[str, str], Sight] = {}
        for sight in self._guarded(lambda: list(self._look(scene)))() or ():
            key = sight.name, sight.network
            sights[key] = sights[key] if key in sights and sights[key].seen else sight
        for key, sight in sights.items():
            self._in_a_row[key] = self._in_a_row[key] + 1 if sight.seen else 0
            if self._in_a_row[key] >= LOOP_BUGS[sight.name].turns:
                self._report([sight])
        self._looked_at += bool(scene.calls("d"))
        self.witness.next_scene()
        if self._looked_at == LOOKED_AT_TURNS or self.is_finished:
            self.close()
        if self.is_finished:
            count = len(self.findings)
            LOGGER.info("loop check: %d turns watched, %d findings", self._turns, count)

    def _look(self, scene: Scene) -> Iterator[Sight]:
        for check in CHECKS:
            yield from check(scene)
        yield from self.witness.gradients.look(scene, has_average=self._averages.has_any)
        yield from self.witness.lifetimes.look()
        yield from self._averages.look()

    def _guarded(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """A call from a hook that does not raise: the loop goes on without these checks."""

        @functools.wraps(call)
        def guarded(*arguments: Any, **options: Any) -> Any:
            try:
                return call(*arguments, **options) if self.witness.is_close else None
            except Exception:
                LOGGER.debug("loop check: given up", exc_info=True)
                self.close()
                return None

        return guarded

    def _report(self, sights: Iterable[Sight]) -> None:
        """Report bugs, each once; those that either network may have, once for each."""
        for sight in sights:
            key = sight.name, sight.network
            if key in self._reported or (
                key[0] == "never-updated" and key[1] in self.witness.resting
            ):
                continue
            self._reported.add(key)
            bug, line = LOOP_BUGS[sight.name], sight.line or self._networks.made_at
            found = sight.name, bug.meaning, bug.change, line, self._step, sight.detail
            finding = LoopFinding(*found)
            self.findings.append(finding)
            self._tell(self._step, "loop-bug", str(finding), logging.WARNING)
