"""Lightning's Fabric: the devices, processes and precision of a training."""

import os
import sys

import torch

from counterpoise.config import RunConfig
from counterpoise.errors import UserError, refusing

# Fabric imports torchmetrics, and that matplotlib, to look at a version for something that is not
# used here: half of the seconds in which a training starts.
_UNASKED = {"torchmetrics": None} if "torchmetrics" not in sys.modules else {}
sys.modules.update(_UNASKED)  # type: ignore[arg-type]
try:
    from lightning_fabric import Fabric
finally:
    for _name in _UNASKED:
        del sys.modules[_name]

__all__ = ["Fabric", "make_fabric"]


def make_fabric(config: RunConfig) -> Fabric:
    """The devices and precision of a configuration; torchrun's processes where it started us."""
    devices, nodes = config.train.devices, 1
    if "LOCAL_WORLD_SIZE" in os.environ:
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    what = f"train.accelerator {config.train.accelerator} with {devices} device(s)"
    has_cuda = config.train.accelerator in ("auto", "cuda") and torch.cuda.is_available()
    if config.train.precision == "16-mixed" and not has_cuda:
        raise UserError("train.precision=16-mixed is for CUDA devices; set it to bf16-mixed")
    with refusing(what, RuntimeError, ValueError):
        return Fabric(
            accelerator=config.train.accelerator,
            devices=devices,
            num_nodes=nodes,
            precision=config.train.precision,
            strategy="ddp" if devices * nodes > 1 else "auto",
        )
