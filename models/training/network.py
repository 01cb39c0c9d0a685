"""The U-Net both networks are: only what an int8 runtime is good at.

Dense 3x3 convolutions with ReLU, channels in multiples of 16, max-pooling down,
a 1x1 reduction before each nearest x2 upsampling, concatenation. Full resolution,
where a convolution costs most time for least insight, has one of them each way,
every other level two. BatchNorm exists while training and is folded away at export.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTHS = (16, 32, 64, 128, 256)
SIZE_MULTIPLE = 2 ** (len(WIDTHS) - 1)


class ConvUnit(nn.Sequential):
    """Convolution, BatchNorm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


def folded(unit: ConvUnit) -> tuple[Tensor, Tensor]:
    """The convolution's weights and bias with BatchNorm's statistics inside."""
    conv, norm = unit[0], unit[1]
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return conv.weight * factor[:, None, None, None], norm.bias - norm.running_mean * factor


def _block(inputs: int, outputs: int, units: int) -> nn.Sequential:
    widths = (inputs, *[outputs] * units)
    return nn.Sequential(*(ConvUnit(a, b) for a, b in zip(widths, widths[1:])))


class UNet(nn.Module):
    """Input `[n, inputs, h, w]`, h and w multiples of 16; logits `[n, classes, h, w]`."""

    def __init__(self, inputs: int, classes: int, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.inputs, self.classes = inputs, classes
        units = (1, *[2] * (len(widths) - 1))
        self.down = nn.ModuleList(map(_block, (inputs, *widths), widths, units))
        shallow, deep = widths[-2::-1], widths[:0:-1]
        self.reduce = nn.ModuleList(ConvUnit(a, b, 1) for a, b in zip(deep, shallow))
        self.up = nn.ModuleList(map(_block, (2 * w for w in shallow), shallow, units[-2::-1]))
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for level, down in enumerate(self.down):
            if level:
                skips.append(x)
                x = nn.functional.max_pool2d(x, 2)
            x = down(x)
        for reduce, up in zip(self.reduce, self.up):
            x = nn.functional.interpolate(reduce(x), scale_factor=2, mode="nearest")
            x = up(torch.cat((skips.pop(), x), dim=1))
        return self.head(x)
