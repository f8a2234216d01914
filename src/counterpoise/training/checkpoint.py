"""Everything that a resumed training needs, in one safetensors file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from counterpoise.errors import UserError, refusing
from counterpoise.models.weights import CHECKPOINT_FORMAT, read_safetensors, write_safetensors
from counterpoise.run_folder import RunFolder


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory: tensors by `part/name`, and JSON values."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]
    path: Path | None = None  # the file that it was read from

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of one part, by their names within it."""
        prefix = f"{name}/"
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}

    def optimizer_state(self, part: str, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """The `state_dict` of an optimizer, with its settings of now, which may have changed."""
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in self.part(part).items():
            index, key = name.split("/")
            state.setdefault(int(index), {})[key] = tensor
        groups = [
            {**now, "params": then["params"]}
            for now, then in zip(optimizer.param_groups, self.values[part], strict=True)
        ]
        return {"state": state, "param_groups": groups}


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; a crash at any moment leaves the earlier checkpoints as they were."""
    metadata = {"format": CHECKPOINT_FORMAT, "values": json.dumps(checkpoint.values)}
    write_safetensors(path, checkpoint.tensors, metadata)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint; `UserError` for a file that is damaged or something else."""
    tensors, metadata = read_safetensors(path, instead="")
    with refusing(f"{path}: damaged checkpoint, or none"):
        if metadata.get("format") != CHECKPOINT_FORMAT:
            raise ValueError("it is something else")
        return Checkpoint(tensors, dict(json.loads(metadata["values"])), path)


def load_newest(run: RunFolder) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that can be read, and a note for every newer one that cannot.

    None where none has been written yet; `UserError` where none can be read.
    """
    notes: list[str] = []
    for path in reversed(run.checkpoint_files()):
        try:
            return load(path), notes
        except UserError as error:
            notes.append(f"{error}; falling back to the one before")
    if not notes:
        return None, []
    detail = "; ".join(notes)
    raise UserError(f"{run.path}: no checkpoint to resume from ({detail}); start the training anew")
