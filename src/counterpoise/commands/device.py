"""Which device a `--device` option means."""

import torch

from counterpoise.errors import UserError


def pick_device(name: str) -> torch.device:
    """The device of that name; auto takes CUDA, then MPS, where there is one."""
    modules = {"cuda": torch.cuda, "mps": torch.backends.mps, "cpu": torch.cpu}
    here = [kind for kind, module in modules.items() if module.is_available()]
    if name not in ("auto", *here):
        raise UserError(
            f"--device {name}: unknown, or not on this machine; here are {', '.join(here)}"
        )
    return torch.device(here[0] if name == "auto" else name)
