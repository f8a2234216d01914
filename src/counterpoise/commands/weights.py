"""Which weights a `--weights` option means, and which device."""

from pathlib import Path

import torch

from counterpoise.errors import UserError
from counterpoise.models.weights import LoadedGenerator, load_generator
from counterpoise.run_folder import RunFolder


def open_weights(path: Path, device: torch.device) -> LoadedGenerator:
    """The generator of a weight file, or of the newest checkpoint of a run folder."""
    if path.is_dir():
        run = RunFolder.open(path)
        if not run.generator.is_file():
            raise UserError(
                f"{path}: this run has no {run.generator.name}; it comes with the next checkpoint"
            )
        path = run.generator
    loaded = load_generator(path)
    loaded.generator.to(device)
    return loaded


def pick_device(name: str) -> torch.device:
    """The device of that name; auto takes CUDA, then MPS, where there is one."""
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, here in available.items() if here))
    if name not in available:
        raise UserError(f"--device {name}: unknown; known: auto, {', '.join(available)}")
    if not available[name]:
        raise UserError(f"--device {name}: there is none on this machine; use --device cpu")
    return torch.device(name)
