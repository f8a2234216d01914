"""The networks of the project's question, as far as they are known, made small."""

import torch.nn.functional as F
from torch import Tensor, nn


class PortGenerator(nn.Module):
    """ENet as the question's port has it: batch normalisation after every convolution."""

    def __init__(self, width: int, blocks: int = 3) -> None:
        super().__init__()

        def convolution(inputs: int, outputs: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs))

        self.first = convolution(3, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(convolution(width, width), nn.ReLU(), convolution(width, width))
            for _ in range(blocks)
        )
        self.upsampled = nn.ModuleList(convolution(width, width) for _ in range(2))
        self.last = nn.Sequential(convolution(width, width), nn.ReLU(), convolution(width, 3))

    def forward(self, lr: Tensor) -> Tensor:
        """RGB (N, 3, h, w) in [0, 1] to (N, 3, 4h, 4w), clamped to [0, 1]."""
        features = F.relu(self.first(lr))
        for block in self.blocks:
            features = features + block(features)
        for convolution in self.upsampled:
            features = F.relu(convolution(F.interpolate(features, scale_factor=2.0)))
        base = F.interpolate(lr, scale_factor=4.0, mode="bilinear")
        fake: Tensor = (base + self.last(features)).clamp(0, 1)
        return fake
