"""What was changed since a checkpoint was made: settings, images, the loss network."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from counterpoise.config import RunConfig
from counterpoise.data.catalog import Catalog
from counterpoise.training.checkpoint import Snapshot

# Keys, and sections with all of theirs, that a training cannot be resumed with others of.
FIXED = (
    "generator",
    "discriminator",
    "train.pretrain_steps",
    "train.seed",
    "train.initial_weights",
)
# What the command line asks for, and where the same images and weights may lie by now.
UNTOLD = ("train.steps", "train.stop", "data.folders", "data.lr_folders",
          "data.held_out_folders", "features.weights")  # fmt: skip


def images_fingerprint(*catalogs: Catalog) -> str:
    """Changes where a name or the size of a file does, in any of the catalogs."""
    lines = []
    for catalog in catalogs:
        for entry in catalog.files:
            paths = (entry.hr_path, entry.lr_path)
            lines.append(f"{entry.name} {[_size(path) for path in paths if path is not None]}")
        lines.append("")
    return _short_hash([line.encode() for line in lines])


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # It vanished since it was decoded; the training will say so where it reads it.
        return -1


def weights_fingerprint(network: nn.Module) -> str:
    """Changes where a weight does."""
    state = network.state_dict()
    return _short_hash(state[name].detach().cpu().numpy().tobytes() for name in sorted(state))


def _short_hash(parts: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part + b"\n")
    return found.hexdigest()[:16]


def changed_settings(snapshot: Snapshot, config: RunConfig) -> dict[str, tuple[Any, Any]]:
    """The settings that differ from those that a checkpoint was made with: then, and now.

    Empty for a checkpoint of before they were kept in it.
    """
    then = snapshot.values.get("config")
    if not isinstance(then, Mapping):
        return {}
    old, new = (dict(_leaves(tree)) for tree in (then, config.model_dump(mode="json")))
    # A key that is new in this version has its default, as it had then.
    return {key: (old[key], new[key]) for key in new if key in old and old[key] != new[key]}


def is_fixed(key: str) -> bool:
    """Whether a training cannot be resumed with another value of a setting."""
    return any(key == fixed or key.startswith(f"{fixed}.") for fixed in FIXED)


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        key = f"{prefix}{name}"
        # What may have any keys is one setting: the options of a policy, the layers of a loss.
        if isinstance(value, Mapping) and not key.endswith((".options", ".layers")):
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value
