"""Networks as other programs have them, small: the layers and names of their published files."""

import importlib
import sys
from types import ModuleType, SimpleNamespace

import torch
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


class DenseBlock(nn.Module):
    def __init__(self, width, grown):
        super().__init__()
        for n in range(5):
            self.add_module(f"conv{n + 1}", convolution(width + n * grown, (grown, width)[n == 4]))

    def forward(self, x):
        seen = x
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen = torch.cat([seen, F.leaky_relu(layer(seen), 0.2)], 1)
        return 0.2 * self.conv5(seen) + x


class RRDB(nn.Module):
    def __init__(self, width, grown):
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (DenseBlock(width, grown) for _ in range(3))

    def forward(self, x):
        return 0.2 * self.rdb3(self.rdb2(self.rdb1(x))) + x


class RRDBNet(nn.Module):
    """ESRGAN's generator, x4."""

    def __init__(self, num_feat=8, num_block=1, num_grow_ch=4):
        super().__init__()
        self.conv_first = convolution(3, num_feat)
        self.body = nn.Sequential(*(RRDB(num_feat, num_grow_ch) for _ in range(num_block)))
        for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
            self.add_module(name, convolution(num_feat, num_feat))
        self.conv_last = convolution(num_feat, 3)

    def forward(self, x):
        first = self.conv_first(x)
        x = first + self.conv_body(self.body(first))
        for layer in (self.conv_up1, self.conv_up2):
            x = F.leaky_relu(layer(F.interpolate(x, scale_factor=2.0)), 0.2)
        return self.conv_last(F.leaky_relu(self.conv_hr(x), 0.2))


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
