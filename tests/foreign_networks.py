"""A network as other programs have it, small: the layers and names of its published file."""

import importlib
import sys
from types import ModuleType, SimpleNamespace

import torch.nn.functional as F
from torch import nn


def convolution(inputs, outputs):
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class Compact(nn.Module):
    """Convolutions and PReLUs in one list, sub-pixel upscaling, the nearest neighbour added."""

    def __init__(self, num_feat=8, num_conv=2, upscale=4):
        super().__init__()
        layers = [convolution(3, num_feat), nn.PReLU(num_feat)]
        for _ in range(num_conv):
            layers += [convolution(num_feat, num_feat), nn.PReLU(num_feat)]
        self.body = nn.ModuleList([*layers, convolution(num_feat, 3 * upscale**2)])
        self.upscale = upscale

    def forward(self, x):
        out = x
        for layer in self.body:
            out = layer(out)
        return F.pixel_shuffle(out, self.upscale) + F.interpolate(x, scale_factor=self.upscale)


def stand_in_for_spandrel(monkeypatch):
    """What is asked of spandrel, where it cannot be imported."""
    try:
        importlib.import_module("spandrel")
    except (ImportError, RuntimeError):  # the latter where torchvision is for another torch
        stub, util = ModuleType("spandrel"), ModuleType("spandrel.util")
        stub.ImageModelDescriptor = lambda model, state, **facts: SimpleNamespace(
            model=model, loaded=model.load_state_dict(state), **facts
        )
        stub.ModelLoader = lambda: SimpleNamespace(
            load_from_state_dict=lambda state: stub.ImageModelDescriptor(Compact(), state)
        )
        stub.Architecture, stub.StateDict, util.KeyCondition = list, dict, None
        util.store_hyperparameters = lambda: lambda cls: cls
        util.get_seq_len = lambda state, name: len({k[:8] for k in state if k.startswith(name)})
        monkeypatch.setitem(sys.modules, "spandrel", stub)
        monkeypatch.setitem(sys.modules, "spandrel.util", util)
