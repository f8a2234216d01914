"""Whether a checkpoint fits a training: asked before anything of the run is changed."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from counterpoise.balance.policies import take_up
from counterpoise.balance.saved import (
    NotThisStateError,
    check_fields,
    entry,
    is_count,
    is_kind,
    short,
)
from counterpoise.errors import UserError
from counterpoise.records import Action, Readings
from counterpoise.seeding import global_rng_state
from counterpoise.training.checkpoint import KEPT, Snapshot
from counterpoise.training.game import Game
from counterpoise.training.setup import Parts

# An Adam's state of one weight: its count of steps, and two moments shaped as the weight.
ADAM_STEP, ADAM_MOMENTS = "step", ("exp_avg", "exp_avg_sq")
# What is no flag in an Adam's group; every flag is as in a fresh one, but that `fused` goes with
# the device.
ADAM_NUMBERS, NOT_FLAGS = ("lr", "eps", "weight_decay"), {"params", "betas", "initial_lr", "fused"}


def check_values(values: Mapping[str, Any]) -> None:
    """Raise `NotThisStateError` where a checkpoint's values are not what a training saves."""
    for name in ("step", "batches_drawn"):
        if not is_count(entry(values, name)):
            raise NotThisStateError(f"'{name}' cannot be {short(values[name])}")
    if not isinstance(entry(values, "data"), str):
        raise NotThisStateError(f"'data' cannot be {short(values['data'])}")
    if not isinstance(values.get("show_is_due", False), bool):
        raise NotThisStateError(f"'show_is_due' cannot be {short(values['show_is_due'])}")
    kept_step = entry(values, "kept_step")
    if kept_step is not None and not is_count(kept_step):
        raise NotThisStateError(f"'kept_step' cannot be {short(kept_step)}")
    check_fields(Action, entry(values, "last_action"), "last_action")
    check_fields(Readings, entry(values, "readings"), "readings")


def check_state(snapshot: Snapshot, parts: Parts, game: Game) -> None:
    """Raise `NotThisStateError` where a training cannot take a checkpoint up.

    `game` is at the checkpoint's stage. Nothing changes but the policy, which takes its state up.
    """
    name = parts.config.balance.policy
    try:
        take_up(parts.policy, name, entry(snapshot.values, "policy"))
    except UserError as error:
        raise NotThisStateError(str(error)) from error
    known = {"rng", "sensors"}
    prefixes = [""] if snapshot.values["kept_step"] is None else ["", f"{KEPT}/"]
    for prefix in prefixes:
        for part, module in game.modules().items():
            _check_tensors(snapshot, prefix + part, module.state_dict())
            _check_finite(snapshot, prefix + part)
            known.add(prefix + part)
        for part, optimizer in game.optimizers().items():
            _check_adam(snapshot, prefix + part, optimizer)
            known.add(prefix + part)
    _check_rng(snapshot)
    networks = {"g": parts.g} if parts.d is None else {"g": parts.g, "d": parts.d}
    kept = snapshot.part("sensors")
    vectors = {k: torch.empty(_size(net)) for k, net in networks.items() if k in kept}
    _check_tensors(snapshot, "sensors", vectors)
    for full_name in snapshot.tensors:
        if not any(full_name.startswith(f"{part}/") for part in known):
            raise NotThisStateError(f"{full_name} has no place in this training")


def _size(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def _check_tensors(snapshot: Snapshot, part: str, wanted: Mapping[str, Tensor]) -> None:
    """Names, shapes and kinds of number of one part."""
    found = snapshot.part(part)
    for name, tensor in wanted.items():
        if name not in found:
            raise NotThisStateError(f"{part}/{name} is missing")
        _check_tensor(f"{part}/{name}", found[name], tensor)
    if others := sorted(found.keys() - wanted.keys()):
        raise NotThisStateError(f"{part}/{others[0]} has no place in this training")


def _check_tensor(name: str, found: Tensor, wanted: Tensor) -> None:
    if found.shape != wanted.shape:
        shapes = f"{tuple(found.shape)}, but {tuple(wanted.shape)}"
        raise NotThisStateError(f"{name} has the shape {shapes} in this training")
    if found.dtype != wanted.dtype:
        raise NotThisStateError(f"{name} is of {found.dtype}, but {wanted.dtype} in this training")


def _check_finite(snapshot: Snapshot, part: str) -> None:
    """The weights of one part, which are saved only where they are finite."""
    for name, tensor in snapshot.part(part).items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise NotThisStateError(f"{part}/{name} is not finite")


def _check_adam(snapshot: Snapshot, part: str, optimizer: torch.optim.Optimizer) -> None:
    """One Adam's state and its settings: what its next step would stumble over."""
    (group,) = optimizer.param_groups
    weights = group["params"]
    found = snapshot.part(part)
    if found:  # An optimizer that has not stepped yet has none; else every weight has been updated.
        wanted: dict[str, Tensor] = {}
        for index, weight in enumerate(weights):
            wanted[f"{index}/{ADAM_STEP}"] = torch.empty(())
            wanted |= {f"{index}/{moment}": weight for moment in ADAM_MOMENTS}
        _check_tensors(snapshot, part, wanted)
        for index in range(len(weights)):
            steps = float(found[f"{index}/{ADAM_STEP}"])
            if not 0 <= steps < math.inf:
                raise NotThisStateError(f"{part}/{index}/{ADAM_STEP} cannot be {steps:g}")
    groups = entry(snapshot.values, part)
    if not (isinstance(groups, list) and len(groups) == 1 and isinstance(groups[0], Mapping)):
        raise NotThisStateError(f"'{part}' cannot be {short(groups)}")
    saved = groups[0]
    if entry(saved, "params") != list(range(len(weights))):
        raise NotThisStateError(f"'{part}' is not of {len(weights)} weights")
    for name in ADAM_NUMBERS:
        if not (_is_number(entry(saved, name)) and saved[name] >= 0):
            raise NotThisStateError(f"'{part}.{name}' cannot be {short(saved[name])}")
    betas = entry(saved, "betas")
    if not (
        isinstance(betas, list | tuple)
        and len(betas) == 2
        and all(_is_number(beta) and 0 <= beta < 1 for beta in betas)
    ):
        raise NotThisStateError(f"'{part}.betas' cannot be {short(betas)}")
    for name, value in saved.items():
        is_flag = name in group and name not in NOT_FLAGS and name not in ADAM_NUMBERS
        if is_flag and value is not group[name]:
            raise NotThisStateError(f"'{part}.{name}' cannot be {short(value)}")
    if saved.get("fused") not in (None, True, False):
        raise NotThisStateError(f"'{part}.fused' cannot be {short(saved['fused'])}")


def _is_number(value: Any) -> bool:
    return is_kind(value, float) and math.isfinite(value)


def _check_rng(snapshot: Snapshot) -> None:
    """The states of the global generators, by loading them into others."""
    found, wanted = snapshot.part("rng"), global_rng_state()
    if "cpu" not in found:
        raise NotThisStateError("rng/cpu is missing")
    for device in found.keys() & wanted.keys():
        try:
            torch.Generator(device).set_state(found[device])
        except (RuntimeError, TypeError) as error:
            raise NotThisStateError(f"rng/{device} is no state of a generator") from error
    if others := sorted(found.keys() - {"cpu", "cuda"}):
        raise NotThisStateError(f"rng/{others[0]} has no place in this training")
