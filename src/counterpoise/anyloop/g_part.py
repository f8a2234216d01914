"""G's part of a loop: its losses, and the gradients that come back to G's output in it."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node

from counterpoise.anyloop.d_part import STEPPED_EARLY, Reader
from counterpoise.anyloop.graph import walk
from counterpoise.anyloop.hooks import is_backward
from counterpoise.anyloop.network_hooks import FAKE, Phase, tensors_of
from counterpoise.game.game import Game
from counterpoise.game.turn import Turn

# Batches whose gradients are added up before a step, at most: for so long a turn goes on without a
# step of G's optimizer; and while none was seen at all.
MOST_BATCHES, FIRST_BATCHES = 64, 4
NEEDS_LOSS = (
    "the policy trains D on one half of its loss, or adds a regulariser to it, and cannot in this "
    "loop: back-propagate step.loss(real=..., fake=...) in D's part"
)


class GeneratorReader:
    """What hooks in G's part find out, told to the turn; what flows back to G, through each D and
    in all.

    Where nothing is weighed, nothing is put between G and D either: a node there would add up the
    gradients of several terms in another order, and training would not be bitwise what it is
    without. They are read where they leave D instead.
    """

    def __init__(self, game: Game) -> None:
        self._game, self._sensors = game, game.sensors
        # Whether G's part is open.
        self.is_open = False
        # What G minimised in the parts of this turn, without AMP's scale, detached.
        self.losses: list[Tensor] = []
        self._parts = 1  # since the last turn's D part
        # Whether G's optimizer has stepped in this turn; and G's parts in a row without that.
        self.has_stepped = False
        self._without_step, self._most_without = 0, FIRST_BATCHES
        # The node that made a D's input, and which of its outputs that is, while D judges it.
        self._source: tuple[Node, int] | None = None
        self._forget()

    def _forget(self) -> None:
        # Summed over the passes of the turn: each D's share, as it is weighed, and all of it.
        self._adversarial: dict[str, Tensor] = {}
        self._total: Tensor | None = None
        # Whether all are of one shape: not where D's input is more than G's output (a condition
        # beside it), nor where batches of several sizes were judged.
        self._comparable = True

    def turn_begins(self) -> None:
        """A turn begins, with D's part."""
        asked = max(player.last_action.g_steps for player in self._game.players.values())
        if asked > self._parts:
            self._game.say(needs_steps("G", "g_steps", asked), "g_steps")
        self.losses = []
        self.has_stepped = False
        self._forget()

    def minimises(self, roots: Sequence[Tensor], weights: Sequence[Tensor | None]) -> None:
        """A backward pass in G's part runs from these: `loss.backward(minus_one)` minimises
        -loss."""
        scale = self._sensors.gradient_scale()
        for root, weight in zip(roots, weights, strict=True):
            if root.numel() == 1:
                loss = root if weight is None else root * weight
                self.losses.append(loss.detach().float().reshape(()) / scale)

    def end(self, turn: Turn | None, phase: Phase, readers: Mapping[str, Reader]) -> bool:
        """G's part is over; whether a turn ends with it: with the step of G's optimizer, so that
        batches whose gradients are added up are one turn."""
        if turn is None:
            # G's part before the first of D's, or further ones after a turn.
            self._parts += 1
            return False
        self._without_step = 0 if self.has_stepped else self._without_step + 1
        if self.has_stepped:
            self._most_without = MOST_BATCHES
        # A loop that trains D and not G at all adds up nothing.
        only_d = self._most_without == FIRST_BATCHES and any(d.updated for d in turn.ds.values())
        if 0 < self._without_step < self._most_without and not only_d:
            return False
        self._parts = 1
        if all(own.action is None for own in turn.ds.values()):
            # No D is trained yet, or none can be read.
            self._forget()
            if self.losses:
                self._game.end(turn, sum(self.losses[1:], start=self.losses[0]), {})
            return bool(self.losses)
        for name, own in turn.ds.items():
            if own.action is None:
                continue
            given = phase.given.get((name, FAKE))
            on_fake = [call for call in phase.calls(name) if FAKE in call.kinds][:1]
            outputs = readers[name].outputs_in_g(on_fake[0]) if on_fake and given is None else given
            if outputs is not None:
                turn.d_again(outputs, d=name)
        # Where nothing was back-propagated: as the objectives have it, by what the Ds said before.
        losses = self.losses or [
            own.player.known_objective().form.g_loss(*own.judged)
            for own in turn.ds.values()
            if own.judged is not None
        ]
        if self._total is not None and self._comparable:
            for d, adversarial in self._adversarial.items():
                turn.g_gradients(adversarial, self._total - adversarial, d=d)
        self._forget()
        turn.end(sum(losses[1:], start=losses[0]))
        self._tell_shortfalls(turn, readers)
        return True

    def _tell_shortfalls(self, turn: Turn, readers: Mapping[str, Reader]) -> None:
        """Say what a turn did not do of its actions."""
        say = self._game.say
        for name, part in turn.ds.items():
            action = part.asked
            one_half = action.d_steps and not (action.d_trains_on_real and action.d_trains_on_fake)
            if (one_half or action.lecam_weight) and not part.has_d_loss:
                say(NEEDS_LOSS, "halves")
            is_plain = action.d_steps and action.d_learning_rate_scale == 1
            if readers[name].stepped_early and not is_plain:
                say(STEPPED_EARLY)
            # A loop may read the number before the turn begins.
            if min(action.d_steps, part.d_steps_before) > max(1, part.parts):
                say(needs_steps("D", "d_steps", action.d_steps), "d_steps")

    def after_g(self, images: Tensor) -> None:
        """G has made images (N, ...) with a graph: note what gradient comes back to them."""
        # A loop may make its images before it says that the next turn begins.
        if not (self._sensors.due or self._sensors.due_next):
            return

        def note(gradient: Tensor) -> None:
            # With a gradient that a loop asks `autograd.grad` for, it trains nothing.
            if self.is_open and self._sensors.due and is_backward():
                self._total = self._sum(self._total, gradient)

        images.register_hook(note)  # type: ignore[no-untyped-call]

    def before_d(self, images: Tensor, d: str, turn: Turn) -> Tensor:
        """A D's input in G's part, before anything is done to it."""
        self._source = None
        if images.grad_fn is None:
            return images
        scale = turn.of(d).asked.adversarial_weight_scale
        if scale != 1:
            return self._weighed(images, d, turn, scale)
        if self._sensors.due:
            self._source = images.grad_fn, images.output_nr
        return images

    def after_d(self, d: str, outputs: Any) -> None:
        """A D has answered: find where the gradient of its input leaves it."""
        source, self._source = self._source, None
        if source is None:
            return
        roots = [each.grad_fn for each in tensors_of(outputs) if each.grad_fn is not None]
        for node in walk(roots, stop={source[0]}):
            for place, edge in enumerate(node.next_functions):
                if edge == source:
                    self._read_at(node, place, d)

    def _read_at(self, node: Node, place: int, d: str) -> None:
        def note(leaving: Sequence[Tensor | None], _: Any) -> None:
            gradient = leaving[place]
            if gradient is not None:
                self._add(d, gradient)

        node.register_hook(note)

    def _weighed(self, images: Tensor, d: str, turn: Turn, scale: float) -> Tensor:
        """`images` through which only D's gradient flows back, weighed on its way."""
        way = images.view_as(images)

        def weigh(gradient: Tensor) -> Tensor | None:
            if not is_backward():
                return None  # asked of `autograd.grad`, for a weight of the loop's own
            # `part.adversarial` has weighed the term already.
            weighed = gradient if d in turn.adversarial else gradient * scale
            self._add(d, weighed)
            return weighed

        way.register_hook(weigh)  # type: ignore[no-untyped-call]
        return way

    def _add(self, d: str, gradient: Tensor) -> None:
        """A gradient that came back to a D's input, with the policy's scale in it."""
        if self._sensors.due and is_backward():
            self._adversarial[d] = self._sum(self._adversarial.get(d), gradient)

    def _sum(self, sum_so_far: Tensor | None, gradient: Tensor) -> Tensor:
        gradient = gradient.detach().float()
        others = [self._total, *self._adversarial.values()]
        if any(each is not None and each.shape != gradient.shape for each in others):
            self._comparable = False
            return gradient
        return gradient if sum_so_far is None else sum_so_far + gradient


def needs_steps(network: str, field: str, count: int) -> str:
    """That a part of the loop should be repeated."""
    return (
        f"the policy asks for {count} steps of {network} in a turn, and this loop does fewer: put "
        f"that part under `for _ in range(balance.action.{field}):`, each on a fresh batch"
    )
