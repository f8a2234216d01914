"""Bugs that show at once: who owns what, and what a backward pass or a step does in whose part."""

from collections.abc import Iterator

from torch import nn

from counterpoise.anyloop.scene import Networks, Pass, Scene, Sight
from counterpoise.anyloop.tap import FAKE, REAL, Phase


def of_owners(networks: Networks) -> Iterator[Sight]:
    """The optimizers were given."""
    for key, optimizer in networks.optimizers:
        owned = {id(p) for group in optimizer.param_groups for p in group["params"]}
        foreign = owned & networks.ids["d" if key == "g" else "g"]
        if foreign:
            detail = f"{key.upper()}'s owns {len(foreign)} parameters of the other network"
            yield Sight("foreign-parameters", True, "", detail, key)


def of_pass(networks: Networks, scene: Scene, new: Pass) -> Iterator[Sight]:
    """A backward pass is about to run."""
    if new.is_stale:
        yield Sight(f"stale-{new.network}-gradients", True, new.line)
    if new.network == "d":
        for call in new.calls:
            if not call.training and _is_another_in_eval(networks.ds[call.d]):
                yield Sight("eval-mode", True, call.line, "D", "d")
    elif any(each.leaves & networks.ids["g"] for each in scene.passes_of(new.part)):
        if any(not g.training and _is_another_in_eval(g) for g in networks.gs):
            yield Sight("eval-mode", True, new.line, "G", "g")
    else:
        yield Sight("no-gradient-to-generator", True, new.line)


def of_d_step(
    networks: Networks, scene: Scene, part: Phase, halves_chosen: bool
) -> Iterator[Sight]:
    """D's optimizer is about to step in D's part."""
    passes = scene.passes_of(part)
    for each in passes:
        if each.leaves & networks.ids["g"]:
            guilty = [call.line for call in each.calls if call.from_g]
            yield Sight("fake-not-detached", True, guilty[0] if guilty else each.line)
    reached = set().union(*(call.kinds for each in passes for call in each.calls))
    if len(reached) == 1 and not halves_chosen:
        kind = REAL if FAKE in reached else FAKE
        if (skipped := part.call(kind)) is not None:
            detail = f"nothing was back-propagated from D's output on {kind} images"
            yield Sight("half-skipped", True, skipped.line, detail)


def _is_another_in_eval(network: nn.Module) -> bool:
    """Whether a network, in eval mode, has layers that work otherwise in it."""
    for module in network.modules():
        forward = getattr(type(module).forward, "__code__", None)
        drops = getattr(module, "p", getattr(module, "dropout", 1))
        if not module.training and forward and "training" in forward.co_names and drops:
            return True
    return False
