"""Which device a `--device` option means."""

import torch

from counterpoise.errors import UserError


def pick_device(name: str) -> torch.device:
    """The device of that name; auto takes CUDA, then MPS, where there is one."""
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, here in available.items() if here))
    if not available.get(name):
        known = ", ".join(kind for kind, here in available.items() if here)
        raise UserError(f"--device {name}: unknown, or not on this machine; here are {known}")
    return torch.device(name)
