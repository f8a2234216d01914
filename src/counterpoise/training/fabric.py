"""Lightning's Fabric: the devices, processes and precision of a training."""

import os

import torch
from lightning_fabric import Fabric

from counterpoise.config import RunConfig
from counterpoise.errors import UserError, refusing


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
