"""What `balance.d_step()` and `balance.g_step()` give: the two parts of a turn."""

from typing import TYPE_CHECKING, Self

from torch import Tensor

from counterpoise.anyloop.network_hooks import FAKE, REAL, Phase
from counterpoise.game.turn import check_tensors

if TYPE_CHECKING:
    from counterpoise.anyloop.listener import LoopListener


class Part(Phase):
    """A part of the loop, from the call that made it to the end of its `with` block; without one,
    to the next `d_step()`, `g_step()`, `end_step()` or `close()`."""

    def __init__(self, listener: "LoopListener") -> None:
        super().__init__(self.network)
        self._listener = listener

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._listener.end(self, failed=kind is not None)

    def _give(self, kind: str, outputs: Tensor, d: str | None) -> None:
        self.given[self._listener.game.name_of(d), kind] = outputs


class DiscriminatorPart(Part):
    """D's part. Everything here is optional: without it, D's calls and the loss are read. With
    several discriminators, `d` names the one that is meant."""

    network = "d"

    def logits(self, *, real: Tensor, fake: Tensor, d: str | None = None) -> None:
        """Say which outputs of D are which, where its loss does not show it: a D that answers with
        its loss, say. Logits or probabilities, (N,), (N, 1) or maps (N, 1, h, w),
        with their graph, before they go into the loss."""
        check_tensors("D's outputs", real, fake)
        self._give(REAL, real, d)
        self._give(FAKE, fake, d)

    def loss(self, *, real: Tensor, fake: Tensor, d: str | None = None) -> Tensor:
        """D's loss from its two halves, as the policy wants it: their sum; one of them, where the
        policy trains on one; with LeCam's regulariser, where the policy adds it. Back-propagate
        what this returns."""
        check_tensors("D's losses", real, fake)
        return self._listener.combine(self, real, fake, d)


class GeneratorPart(Part):
    """G's part. Everything here is optional: without it, D's call on G's images is read. With
    several discriminators, `d` names the one that is meant."""

    network = "g"

    def logits(self, *, fake: Tensor, real: Tensor | None = None, d: str | None = None) -> None:
        """Say what D's outputs on G's images are, where that cannot be seen; `real` for
        relativistic objectives."""
        check_tensors("D's outputs", fake, *([] if real is None else [real]))
        self._give(FAKE, fake, d)
        if real is not None:
            self._give(REAL, real, d)

    def adversarial(self, loss: Tensor, d: str | None = None) -> Tensor:
        """G's weighted adversarial term, scaled as the policy wants it. Names it in the records;
        without this, the gradient that comes back through D is scaled instead."""
        return self._listener.weigh(loss, d)
