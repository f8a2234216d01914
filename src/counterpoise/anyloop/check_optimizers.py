"""Bugs in what happens between a backward pass and the optimizer's step, and in rates."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.optim import Optimizer

from counterpoise.anyloop.graph import REARRANGING, operation
from counterpoise.anyloop.hooks import Watched, innermost, user_line
from counterpoise.anyloop.scene import Check, Pass, Scene, Sight
from counterpoise.anyloop.witness import Guard, Witness

CLIPS = (
    Watched(torch.nn.utils.clip_grad, "_clip_grads_with_norm_"),
    Watched(torch.nn.utils, "clip_grad_value_"),
)
SCALES = Watched(torch.amp.GradScaler, "scale")
UNSCALES = Watched(torch.amp.GradScaler, "unscale_")

# A learning rate that has fallen to this share is gone.
GONE = 0.01
# What a critic's loss does with its answers.
LINEAR = REARRANGING | {"Mean", "Sum", "Sub", "Rsub", "Add", "Neg", "Mul", "Div", "Cat", "Stack"}


class Optimizers(Check):
    """Follows the gradients of each optimizer's parameters to its step. optimizers, weights: of
    "g" and "d"; of the weights those too that a network hides from `parameters()`, each with a copy
    of what it was at first."""

    def __init__(
        self,
        witness: Witness,
        optimizers: Mapping[str, Sequence[Optimizer]],
        weights: Mapping[str, Sequence[tuple[Tensor, Tensor]]],
        discriminators: Collection[nn.Module],
        guard: Guard,
    ) -> None:
        self._witness, self._weights = witness, weights
        self._is_limited = any(map(_is_limited, discriminators))
        self._tracks = [
            _Track(key, optimizer) for key, own in optimizers.items() for optimizer in own
        ]
        self._registered = {id(p) for d in discriminators for p in d.parameters()}
        self._clipped: list[tuple[str, str, str]] = []  # bug, part and line of calls in a scene
        self._scaled: set[str] = set()  # parts whose loss is scaled
        self._unscaled: set[int] = set()  # `id` of optimizers
        self._handles: list[Any] = []
        for track in self._tracks:
            before, after = guard(track.before_step), guard(self._after_step(track))
            self._handles.append(track.optimizer.register_step_pre_hook(before))
            self._handles.append(track.optimizer.register_step_post_hook(after))
        self._heard = [(each, guard(self._clips)) for each in CLIPS]
        self._heard += [(SCALES, guard(self._scales)), (UNSCALES, guard(self._unscales))]
        for watched, listener in self._heard:
            watched.add(listener)

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()
        for watched, listener in self._heard:
            watched.remove(listener)

    def begins(self, backward: Pass, nodes: Collection[Node]) -> None:
        for node in backward.outside:
            if operation(node) in ("Mul", "Div"):
                by = getattr(node, "_saved_other", None)
                if by is not None and by.numel() == 1 and bool(by):
                    factor = abs(float(by)) ** (1 if operation(node) == "Mul" else -1)
                    backward.factor = min(backward.factor, factor)
        for track in self._tracks:
            if track.network == backward.network:
                track.begins(backward)

    def ran(self, backward: Pass) -> None:
        for track in self._tracks:
            if track.network == backward.network and track.ids & set(backward.leaves):
                track.ran(backward)

    def look(self, scene: Scene) -> Iterator[Sight]:
        for track in self._tracks:
            yield from self._of(track, scene)
            track.zeroed = track.cleared = track.added = ""
        parts = {backward.network for backward in scene.passes}
        for name in ("clip-nothing", "clip-after-step", "scaler-not-unscaled"):
            lines = [line for bug, part, line in self._clipped if bug == name and part in parts]
            if self._clipped:
                yield Sight(name, bool(lines), lines[-1] if lines else "")
        self._clipped = []

    def _of(self, track: "_Track", scene: Scene) -> Iterator[Sight]:
        key = track.network
        rate = max(float(group["lr"]) for group in track.optimizer.param_groups)
        track.peak = max(track.peak, rate)
        detail = f"of {key.upper()}'s optimizer, from {track.peak:.2g} to {rate:.2g}"
        yield Sight("rate-gone", rate < GONE * track.peak, track.line, detail, key)
        passes = [each for each in scene.passes if each.network == key and each.asked]
        if not passes:
            return
        pairs = self._weights[key]
        still = [weight for weight, initial in pairs if torch.equal(weight, initial)]
        yield Sight("zeroed-before-step", bool(track.zeroed), track.zeroed, "", key)
        detail = f"{key.upper()}; its gradients are cleared before its optimizer steps"
        unmoved = bool(track.cleared) and len(still) == len(pairs)
        yield Sight("never-updated", unmoved, track.cleared, detail, key)
        yield Sight("accumulation-not-divided", bool(track.added), track.added, "", key)
        if key == "d" and track.is_changed is not None:
            linear = all(each.operations <= LINEAR for each in passes)
            # Never below 0, they may be probabilities, or the loss of a D that has it in.
            answers = [out for each in passes for asked in each.asked for out in asked.outputs]
            linear = linear and any(bool((answer < 0).any()) for answer in answers)
            free = linear and not (self._is_limited or scene.slopes or track.is_changed)
            yield Sight("clip-missing", free, track.line)
        owned = set().union(*(each.ids for each in self._tracks))
        left = [w for w in still if id(w) not in owned and _has_gradients([w])]
        hidden = [w for w in left if key == "d" and id(w) not in self._registered]
        if track.steps > 1 and len(still) < len(pairs):
            for name, some in (("unregistered-modules", hidden), ("unowned-parameters", left)):
                detail = f"{len(some)} of {key.upper()}'s {len(pairs)} parameters"
                yield Sight(name, bool(some) and some is (hidden or left), "", detail, key)

    def _after_step(self, track: "_Track") -> Callable[..., None]:
        def after(*_: Any) -> None:
            track.after_step()
            self._unscaled.discard(id(track.optimizer))
            self._scaled.discard(track.network)

        return after

    def _clips(self, parameters: Any, limit: float, *_: Any, **__: Any) -> None:
        phase = self._witness.phase()
        if phase is None or not float(limit) < float("inf"):
            return
        parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
        given = [p for p in parameters if p.grad is not None]
        tracks = [each for each in self._tracks if each.ids & set(map(id, given))]
        unscaled = any(id(each.optimizer) in self._unscaled for each in tracks)
        name = ""
        if not given:
            name = "clip-nothing"
        elif tracks and all(each.is_spent(given) for each in tracks):
            name = "clip-after-step"
        elif phase.network in self._scaled and not unscaled:
            name = "scaler-not-unscaled"
        self._clipped.append((name, phase.network, user_line()))

    def _scales(self, scaler: Any, *_: Any) -> None:
        if (phase := self._witness.phase()) and scaler.is_enabled() and scaler.get_scale() != 1:
            self._scaled.add(phase.network)

    def _unscales(self, _: Any, optimizer: Any) -> None:
        self._unscaled.add(id(innermost(optimizer)))


class _Track:
    """One optimizer, and the gradients of its parameters since its last step."""

    def __init__(self, network: str, optimizer: Optimizer) -> None:
        self.network, self.optimizer = network, optimizer
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.ids = set(map(id, self._parameters))
        self.peak, self.steps, self.line = 0.0, 0, ""
        self._is_fresh = False  # whether a backward pass has left gradients
        self._state: dict[int, tuple[int, int]] = {}  # of gradients, after such a pass or a step
        self._passes: list[Pass] = []
        self._stepped: list[Tensor] = []  # D's weights after a step
        self.is_changed: bool | None = None  # whether these were others before the next one
        # Lines: a step without the gradients that were there, a backward pass before which they
        # were cleared without a step, a pass that adds to others.
        self.zeroed = self.cleared = self.added = ""

    def begins(self, backward: Pass) -> None:
        if self._is_fresh and not _has_gradients(self._parameters):
            self._is_fresh, self._passes = False, []
            self.cleared = backward.line

    def ran(self, backward: Pass) -> None:
        self._is_fresh |= _has_gradients(self._parameters)
        self._passes.append(backward)
        self._state = self._now()

    def before_step(self, _: Any, arguments: Any, options: Any) -> None:
        self.line = user_line()
        if self.network == "d":
            if self._stepped:
                pairs = zip(self._stepped, self._parameters, strict=True)
                self.is_changed = not all(torch.equal(before, now) for before, now in pairs)
            self._stepped = []
        if len(arguments) > 1 or options:
            return  # a closure, whose backward pass comes yet
        if self._is_fresh and not _has_gradients(self._parameters):
            self.zeroed = self.line
        if self._state == self._now() and _is_undivided(self._passes, self.network):
            self.added = self._passes[-1].line

    def after_step(self) -> None:
        self.steps += 1
        self._is_fresh, self._passes, self._state = False, [], self._now()
        if self.network == "d":
            self._stepped = [p.detach().clone() for p in self._parameters]

    def is_spent(self, given: Sequence[Tensor]) -> bool:
        """Whether the optimizer has stepped with all these gradients."""
        now, own = self._now(), [id(p) for p in given if id(p) in self.ids]
        return not self._passes and all(self._state.get(key) == now[key] for key in own)

    def _now(self) -> dict[int, tuple[int, int]]:
        return {
            id(p): (id(p.grad), p.grad._version) for p in self._parameters if p.grad is not None
        }


def _has_gradients(parameters: Sequence[Tensor]) -> bool:
    found = [p.grad for p in parameters if p.grad is not None and bool(p.grad.any())]
    return bool(found) and all(bool(torch.isfinite(each.sum())) for each in found)


def _is_undivided(passes: Sequence[Pass], network: str) -> bool:
    """Whether several passes, each over micro-batches of its own, add up whole losses."""
    asked = {each for backward in passes for each in backward.asked if not each.is_between}
    kinds = [{each for each in asked if each.made is not None}]
    if network == "d":
        kinds.append({each for each in asked if each.made is None or each.has_both})
    counts = []
    for kind in kinds:
        alike = Counter((each.d, each.made and each.made.g, each.images.shape) for each in kind)
        counts.append(max(alike.values(), default=0))
    count = min(counts)
    return 1 < count <= len(passes) and all(each.factor > 1 / count + 1e-6 for each in passes)


def _is_limited(discriminator: nn.Module) -> bool:
    """Whether its layers are normalised by their largest singular value."""
    for module in discriminator.modules():
        names = [type(each).__name__ for each in (module, *module._forward_pre_hooks.values())]
        if any("spectral" in name.lower() or name.startswith("SN") for name in names):
            return True
    return any(name.endswith("_u") for name, _ in discriminator.named_buffers())
