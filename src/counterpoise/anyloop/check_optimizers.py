"""Bugs in what happens between a backward pass and the optimizer's step, and in rates."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from counterpoise.anyloop.graph import JOINING, REARRANGING, marks
from counterpoise.anyloop.hooks import Watched, innermost, user_line
from counterpoise.anyloop.network_hooks import Phase, tensors_of
from counterpoise.anyloop.observed_turn import (
    SCALED,
    BackwardPass,
    Networks,
    ObservedTurn,
    Samples,
    Symptom,
    is_same,
    sample_of,
)

CLIPS = (
    Watched(torch.nn.utils.clip_grad, "_clip_grads_with_norm_"),
    Watched(torch.nn.utils, "clip_grad_value_"),
)
SCALES = Watched(torch.amp.GradScaler, "scale")
UNSCALES = Watched(torch.amp.GradScaler, "unscale_")
SCALED_STEPS = Watched(torch.amp.GradScaler, "step")

# A learning rate that has fallen to this share is gone.
GONE = 0.01
# One that falls to this share or less in each of so many turns in a row soon will be.
FALLS, FALLING = 0.95, 8
# What a critic's loss does with its answers.
LINEAR = REARRANGING | JOINING | {"Mean", "Sum", "Sub", "Rsub", "Add", "Neg", "Mul", "Div"}
# What may be seen between a backward pass and a step: see `loop_bugs.toml`.
BETWEEN = (
    "zeroed-before-step", "accumulation-not-divided", "accumulation-reset", "half-skipped",
    "scaler-bypassed", "clip-nothing", "clip-after-step", "scaler-not-unscaled",
    "stale-d-gradients", "stale-g-gradients",
)  # fmt: skip


class Gradients:
    """Follows the gradients of each optimizer's parameters to its step."""

    def __init__(
        self, phase: Callable[[], Phase | None], networks: Networks, guard: Callable[..., Any]
    ) -> None:
        self._phase, self._networks = phase, networks
        self._is_limited = any(map(_is_limited, networks.ds.values()))
        self._tracks = [_Track(key, optimizer) for key, optimizer in networks.optimizers]
        # What of networks is trained, those weights too that they hide, as it was at first.
        self._initial = {key: Samples(_trained(networks, key)) for key in networks.whole}
        self._seen: dict[tuple[str, str], tuple[str, str]] = {}  # lines, details, in a turn
        self._has_scale = False  # whether the scaler that steps has one
        self._undo: list[Callable[[], None]] = []
        for track in self._tracks:
            before, after = guard(partial(self._before_step, track)), guard(track.has_stepped)
            self._undo.append(track.optimizer.register_step_pre_hook(before).remove)
            self._undo.append(track.optimizer.register_step_post_hook(after).remove)
        for watched, listener in (
            *((each, self._clips) for each in CLIPS),
            (SCALES, self._scales),
            (UNSCALES, self._unscales),
            (SCALED_STEPS, self._steps_scaled),
        ):
            self._undo.append(watched.add(guard(listener)))

    def close(self) -> None:
        """Let go of everything."""
        for undo in self._undo:
            undo()

    def begins(self, backward: BackwardPass) -> None:
        """A backward pass is about to run."""
        for track in self._tracks:
            self._look_at_spent(track)
            if track.network == backward.network and track.is_cleared():
                # A pass that reaches no answer of D is of another loss, as that of an encoder.
                lost = [each for each in track.passes if each.answers]
                track.lost += [each for each in lost if each not in track.old]
                track.passes, track.is_fresh = [], False

    def _look_at_spent(self, track: "_Track") -> None:
        """Gradients that the optimizer has stepped with were clipped since: made smaller, each of
        them, and by no backward pass, of which some are not heard between the parts."""
        if track.steps and not track.passes and track.shrunk():
            self._seen["clip-after-step", track.network] = track.line, ""

    def ran(self, backward: BackwardPass) -> None:
        """It has run."""
        for track in self._tracks:
            if track.network == backward.network and track.ids & backward.leaves:
                track.is_fresh |= _have_gradients(track.parameters)
                track.passes.append(backward)
            track.left = track.samples()

    def look(self, turn: ObservedTurn, *, has_average: bool) -> Iterator[Symptom]:
        """What shows in a turn that is over."""
        for track in self._tracks:
            self._look_at_spent(track)
            yield from self._of(track, turn, has_average)
            track.lost, track.old = [], track.passes.copy()
        for network in {each.network for each in turn.passes if each.answers}:
            for name in BETWEEN:
                line, detail = self._seen.get((name, network), ("", ""))
                yield Symptom(name, bool(line), line, detail, network)
        self._seen = {}

    def _of(self, track: "_Track", turn: ObservedTurn, has_average: bool) -> Iterator[Symptom]:
        key, network = track.network, track.network.upper()
        rate = max(float(group["lr"]) for group in track.optimizer.param_groups)
        track.falling = [*track.falling, rate] if rate < track.rate else []
        track.peak, track.rate = max(track.peak, rate), rate
        gone = rate <= GONE * track.peak * (1 + 1e-6)
        # Or it will be soon, as it goes on.
        gone |= (
            len(track.falling) > FALLING and rate <= FALLS**FALLING * track.falling[-FALLING - 1]
        )
        detail = f"of {network}'s optimizer, from {track.peak:.2g} to {rate:.2g}"
        yield Symptom("rate-gone", gone and track.peak > 0, track.line, detail, key)
        passes = [each for each in turn.passes if each.network == key]
        weights, still = self._initial[key].weights, self._initial[key].still()
        if weights:
            does = "steps, but has no gradients for it" if track.steps else "never steps"
            does = does if rate or not track.steps else "has a learning rate of 0"
            line = track.line or (passes[-1].line if passes else "")
            unmoved = len(still) == len(weights)
            yield Symptom("never-updated", unmoved, line, f"{network}; its optimizer {does}", key)
        passes = [each for each in passes if each.answers]
        if not passes:
            return
        if key == "g" and has_average:
            yield Symptom("ema-trained", track.is_changed is True, track.line)
        if key == "d" and track.is_changed is not None:
            linear = all(each.operations <= LINEAR for each in passes)
            # Never below 0, they may be probabilities, or the loss of a D that has it in.
            answers = [out for each in passes for call in each.calls for out in call.outputs]
            linear = linear and any(bool((answer < 0).any()) for answer in answers)
            free = linear and not (self._is_limited or turn.penalty_gradients or track.is_changed)
            yield Symptom("clip-missing", free, track.line)
        if track.steps > 1 and len(still) < len(weights):
            unused = len(track.unused & set(map(id, still)))
            detail = f"{unused} of {network}'s {len(track.parameters)} parameters"
            yield Symptom("unused-parameters", unused > 0, track.line, detail, key)
        owned = self._networks.owned
        left = [w for w in still if id(w) not in owned and _have_gradients([w])]
        hidden = [w for w in left if id(w) not in self._networks.ids[key]]
        if track.steps > 1 and len(still) < len(weights):
            for name, some in (("unregistered-modules", hidden), ("unowned-parameters", left)):
                detail = f"{len(some)} of {network}'s {len(weights)} parameters"
                yield Symptom(name, bool(some) and some is (hidden or left), "", detail, key)

    def _before_step(self, track: "_Track", _: Any, arguments: Any, options: Any) -> None:
        line = track.line = user_line()
        if track.stepped is not None:
            track.is_changed = track.stepped.has_moved()
        if len(arguments) > 1 or options:
            return  # a closure, whose backward pass comes yet
        track.unused &= {id(p) for p in track.parameters if p.grad is None and p.requires_grad}
        scaled = set().union(*(each.scaled for each in track.passes))
        by_scaler = SCALED_STEPS.running is not None
        is_bare = scaled == {True} and not (by_scaler or track.is_unscaled)
        is_shrunk = False in scaled and by_scaler and self._has_scale
        lost = kinds_of(track.lost) - kinds_of(track.passes)
        half = f"that on {'/'.join(lost)} images is cleared before the step" if lost else ""
        for name, seen in (
            ("zeroed-before-step", track.is_cleared()),
            ("accumulation-not-divided", track.is_undivided() and not track.changed()),
            ("accumulation-reset", bool(track.lost) and not half),
            ("half-skipped", bool(half)),
            ("scaler-bypassed", len(scaled) > 1 or is_bare or is_shrunk),
        ):
            if seen:
                self._seen[name, track.network] = line, half * (name == "half-skipped")
        if stale := [each.line for each in track.passes if each.is_stale]:
            self._seen[f"stale-{track.network}-gradients", track.network] = stale[0], ""

    def _scales(self, scaler: Any, *_: Any) -> Callable[[Any], None] | None:
        return _mark_scaled if scaler.is_enabled() and scaler.get_scale() != 1 else None

    def _steps_scaled(self, scaler: Any, *_: Any) -> None:
        self._has_scale = scaler.is_enabled() and scaler.get_scale() != 1

    def _unscales(self, _: Any, optimizer: Any) -> None:
        for track in self._tracks:
            track.is_unscaled |= track.optimizer is innermost(optimizer)

    def _clips(self, parameters: Any, *limits: Any, clip_value: float = 0.0, **_: Any) -> None:
        phase, limit = self._phase(), [*limits, clip_value][0]
        if phase is None or not float(limit) < float("inf"):
            return
        parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
        given = {id(p) for p in parameters if p.grad is not None}
        tracks = [each for each in self._tracks if each.ids & given]
        passes = [each for track in tracks for each in track.passes]
        unscaled = any(each.is_unscaled for each in tracks)
        name = ""
        if not given or not (passes or any(bool(p.grad.any()) for p in parameters)):
            name = "clip-nothing"
        elif (
            tracks
            and not passes
            and all(each.network == phase.network or not each.changed() & given for each in tracks)
        ):
            name = "clip-after-step"
        elif any(True in each.scaled for each in passes) and not unscaled:
            name = "scaler-not-unscaled"
        if name:
            self._seen[name, phase.network] = user_line(), ""


class _Track:
    """One optimizer, and the gradients of its parameters since its last step."""

    def __init__(self, network: str, optimizer: Optimizer) -> None:
        self.network, self.optimizer = network, optimizer
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.ids = set(map(id, self.parameters))
        self.unused = self.ids.copy()  # those that had a gradient in no step
        self.peak, self.rate, self.steps, self.line = 0.0, 0.0, 0, ""
        # Learning rates of the last turns, each below the one before.
        self.falling: list[float] = []
        self.passes: list[BackwardPass] = []
        # Those of earlier turns: there may be some without a step.
        self.old: list[BackwardPass] = []
        self.is_fresh = False  # whether these have left finite gradients
        # Of a turn, whose gradients were cleared before another pass.
        self.lost: list[BackwardPass] = []
        self.left: dict[int, Tensor] = {}  # of gradients, after a step or any pass
        self.stepped: Samples | None = None  # the weights after a step
        self.is_changed: bool | None = None  # whether these were others before the next one
        self.is_unscaled = False  # whether AMP's scale was taken out of its gradients

    def has_stepped(self, *_: Any) -> None:
        """Its optimizer has stepped."""
        self.steps += 1
        self.passes, self.lost, self.is_fresh, self.is_unscaled = [], [], False, False
        self.left, self.stepped = self.samples(), Samples(self.parameters)

    def is_cleared(self) -> bool:
        """Whether the gradients of its passes are gone."""
        return self.is_fresh and not _have_gradients(self.parameters)

    def changed(self) -> set[int]:
        """Which gradients are others than after the last step or pass, and not cleared."""
        now = self.samples()
        return {key for key, own in self.left.items() if key in now and not is_same(own, now[key])}

    def shrunk(self) -> bool:
        """Whether gradients have changed since, and all that did are smaller than they were."""
        now, changed = self.samples(), self.changed()
        pairs = [(self.left[key], now[key]) for key in changed]
        return bool(pairs) and all(
            bool(((new.abs() <= old.abs()) & (new * old >= 0)).all()) for old, new in pairs
        )

    def samples(self) -> dict[int, Tensor]:
        """Some values of its gradients, where they are not cleared."""
        found = {id(p): p.grad for p in self.parameters if p.grad is not None}
        return {key: sample_of(grad) for key, grad in found.items() if bool(grad.any())}

    def is_undivided(self) -> bool:
        """Whether several passes, each over micro-batches of its own, add up whole losses."""
        calls = {call for each in self.passes for call in each.calls if not call.is_between}
        kinds = [[call for call in calls if call.fake_place is not None]]
        if self.network == "d":
            kinds.append([call for call in calls if not call.from_g])
        alike = [Counter((c.d, c.g_call and c.g_call.g, c.shape) for c in kind) for kind in kinds]
        count = min(max(each.values(), default=0) for each in alike)
        return 1 < count <= len(self.passes) and all(
            each.factor > 1 / count + 1e-6 for each in self.passes
        )


def kinds_of(passes: Sequence[BackwardPass]) -> set[str]:
    """On which kinds of images the answers are that passes reach."""
    return set().union(*(call.kinds for each in passes for call in each.calls))


def _mark_scaled(scaled: Any) -> None:
    for loss in tensors_of(scaled):
        if loss.grad_fn is not None:
            marks(loss.grad_fn)[SCALED] = True


def _have_gradients(parameters: Sequence[Tensor]) -> bool:
    found = [p.grad for p in parameters if p.grad is not None and bool(p.grad.any())]
    return bool(found) and all(bool(torch.isfinite(each.sum())) for each in found)


def _trained(networks: Networks, key: str) -> list[Tensor]:
    """A network's weights that are trained, and those of modules that it keeps in plain lists."""
    weights = list(networks.weights[key])
    for module in networks.whole[key].modules():
        for value in vars(module).values():
            if isinstance(value, list | tuple | dict):
                kept = value.values() if isinstance(value, dict) else value
                weights += [p for m in kept if isinstance(m, nn.Module) for p in m.parameters()]
    return list({id(weight): weight for weight in weights if weight.requires_grad}.values())


def _is_limited(discriminator: nn.Module) -> bool:
    """Whether its layers are normalised by their largest singular value."""
    for module in discriminator.modules():
        names = [type(each).__name__ for each in (module, *module._forward_pre_hooks.values())]
        if any("spectral" in name.lower() or name.startswith("SN") for name in names):
            return True
    return any(name.endswith("_u") for name, _ in discriminator.named_buffers())
