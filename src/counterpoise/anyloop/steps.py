"""What `balance.d_step()` and `balance.g_step()` give: the two parts of a turn."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

from torch import Tensor

from counterpoise.anyloop.tap import FAKE, REAL, Call, Phase

if TYPE_CHECKING:
    from counterpoise.anyloop.engine import Engine


class Step:
    """A part of the loop, from the call that made it to the end of its `with` block; without one,
    to the next `d_step()`, `g_step()`, `end_step()` or `close()`."""

    network = ""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self.phase = Phase(self.network)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._engine.end(self, failed=error is not None)

    def _give(self, kind: str, outputs: Tensor) -> None:
        seen = self.phase.call(kind)
        call = Call(kind, None, True) if seen is None else seen
        if call.images is not None and len(call.images) != len(outputs):
            # D saw both kinds in one pass.
            call.images, call.images_alone = None, False
        call.outputs = outputs
        if seen is None:
            self.phase.d_calls.append(call)


class DiscriminatorStep(Step):
    """D's part. Everything here is optional: without it, D's calls and the loss are read."""

    network = "d"

    def logits(self, *, real: Tensor, fake: Tensor) -> None:
        """Say which outputs of D are which, where that cannot be seen: D called once on both, or
        returning more than a tensor. Logits or probabilities, (N,), (N, 1) or maps (N, 1, h, w),
        with their graph, before they go into the loss."""
        self.phase.d_calls = [call for call in self.phase.d_calls if call.kind in (REAL, FAKE)]
        self._give(REAL, real)
        self._give(FAKE, fake)

    def loss(self, *, real: Tensor, fake: Tensor) -> Tensor:
        """D's loss from its two halves, as the policy wants it: their sum; one of them, where the
        policy trains on one; with LeCam's regulariser, where the policy adds it. Back-propagate
        what this returns."""
        return self._engine.combine(self, real, fake)


class GeneratorStep(Step):
    """G's part. Everything here is optional: without it, D's call on G's images is read."""

    network = "g"

    def logits(self, *, fake: Tensor, real: Tensor | None = None) -> None:
        """Say what D's outputs on G's images are, where that cannot be seen; `real` for
        relativistic objectives."""
        self._give(FAKE, fake)
        if real is not None:
            self._give(REAL, real)

    def adversarial(self, loss: Tensor) -> Tensor:
        """G's weighted adversarial term, scaled as the policy wants it. Names it in the records;
        without this, the gradient that comes back through D is scaled instead."""
        return self._engine.weigh(loss)
